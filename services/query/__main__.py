"""The query service as a process: `python -m services.query`."""

import errno
import signal
import socket
import sys

import uvicorn

from services.query.app import QueryApp
from services.query.service import build, key_file
from services.query.settings import QuerySettings
from services.runtime import logs
from services.runtime.keys import refusal_to_listen
from services.runtime.settings import SettingsError, load

USAGE = 2
BACKLOG = 2048
GRACEFUL_SECONDS = 3
"""How long running requests may take to end once the process is told to stop.

Exports and live pages are cut off then: their readers go on where they stopped.
"""


def main() -> None:
    """Serve until SIGTERM or SIGINT, then answer what was taken and end with 0."""
    try:
        settings = load(QuerySettings)
    except SettingsError as error:
        sys.exit(_refused(str(error)))
    logs.configure("query", settings)
    keys = key_file(settings.keys_file)
    refusal = refusal_to_listen(keys, settings.query_host)
    if refusal is not None:
        sys.exit(_refused(f"QUERY_HOST: {refusal}"))
    try:
        listener = _listener(settings.query_host, settings.query_port)
    except OSError as error:
        sys.exit(_refused(_unlistenable(settings, error)))
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once everything has ended; by then it means success.
        signal.signal(number, lambda *_: sys.exit(0))
    _server(QueryApp(build(settings, keys))).run(sockets=[listener])


def _server(app: QueryApp) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
    )


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _unlistenable(settings: QuerySettings, error: OSError) -> str:
    place = f"{settings.query_host}:{settings.query_port}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is taken by another program: stop it, or set QUERY_PORT to a free port"
    return f"cannot listen on {place} ({error.strerror}): change QUERY_HOST or QUERY_PORT"


def _refused(message: str) -> int:
    for line in message.splitlines():
        print(f"query: {line}", file=sys.stderr)  # noqa: T201 (before there is a log, and for people)
    return USAGE


if __name__ == "__main__":
    main()
