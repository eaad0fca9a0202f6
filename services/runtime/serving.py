"""What processes that answer HTTP share at their rim: where they listen, their server, their end."""

import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any, Protocol

import structlog
import uvicorn

from services.runtime.bounded import BoundedProtocol, bounded
from services.runtime.bounds import Bounds, Meter, fitting
from services.runtime.exits import USAGE, complain, unlistenable
from services.runtime.garbage import collect_seldom
from services.runtime.keys import KeyFile, refusal_to_listen

log = structlog.get_logger()

BACKLOG = 2048
YOUNG_OBJECTS = 50_000
"""How many more objects than before there may be before cycles among them are looked for."""

GRACEFUL_SECONDS = 3
"""How long running requests may take to end once the process is told to stop.

With what stops after them, less than the ten seconds that whoever stops processes usually waits.  Exports and
live pages are cut off then: their readers go on where they stopped.
"""


GONE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 30),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 60_000),
        )
        if hasattr(socket, name)
    ),
]
"""Connections inherit these: one whose client is gone without a word ends within a minute or so."""


class Startable(Protocol):
    """What works behind an application."""

    async def start(self) -> None:
        """Start; no server that it needs has to be there yet."""

    async def stop(self) -> None:
        """Stop what was started."""


def lifespan(service: Startable) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return what starts and stops a service with the application in front of it."""

    @asynccontextmanager
    async def alive(_app: Any) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    return alive


def run(
    service: str,
    host: str,
    port: int,
    keys: KeyFile,
    application: Callable[[], Any],
    bounds: Bounds,
    meter: Meter,
) -> int:
    """Serve until SIGTERM or SIGINT, then answer what was taken; the exit code.

    The application is made once it is certain that it may be served.
    """
    prefix = service.upper()
    refusal = refusal_to_listen(keys, host)
    if refusal is not None:
        return complain(service, f"{prefix}_HOST: {refusal}", USAGE)
    try:
        listener = _listener(host, port)
    except OSError as error:
        return complain(service, unlistenable(error, host, port, prefix) or str(error), USAGE)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once everything has ended; by then it means success.
        signal.signal(number, lambda *_: sys.exit(0))
    room = fitting(bounds)
    if room != bounds:
        log.warning("fewer connections than set: the limit of open files", connections=room.connections)
    server = _Server(config(application(), bounded(room, meter)))
    collect_seldom(YOUNG_OBJECTS, 20, 100)
    server.run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; an application that has `stopping` is told first, and ends answers without an end."""
        stopping = getattr(self.config.app, "stopping", None)
        if stopping is not None:
            stopping()
        super().handle_exit(sig, frame)


def config(application: Any, protocol: type[BoundedProtocol] = BoundedProtocol) -> uvicorn.Config:
    """Return how an application is served."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=protocol.bounds.idle_seconds,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    for level, option, value in GONE:
        listener.setsockopt(level, option, value)
    return listener
