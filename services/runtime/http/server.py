"""Runs an HTTP service: listens, serves, drains and stops."""

import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any, Protocol

import structlog
import uvicorn

from services.runtime.exit_codes import USAGE, complain, unlistenable
from services.runtime.http.bounded import BoundedProtocol, bounded
from services.runtime.http.keys import KeyFile, refusal_to_listen
from services.runtime.http.limits import ConnectionLimits, ConnectionMetrics, fitting
from services.runtime.process import collect_seldom

log = structlog.get_logger()

BACKLOG = 2048
YOUNG_OBJECTS = 50_000
"""How many more objects than before there may be before cycles among them are looked for."""

GRACEFUL_SECONDS = 3
"""How long running requests may take to end once no more are taken.

With the drain before them and what stops after them, less than the ten seconds that supervisors usually wait.
Exports and live pages are cut off then: their clients resume where they stopped.
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


class StartableService(Protocol):
    """What works behind an application."""

    async def start(self) -> None:
        """Start; no server that it needs has to be there yet."""

    async def stop(self) -> None:
        """Stop what was started."""


def lifespan(service: StartableService) -> Callable[[Any], AbstractAsyncContextManager[None]]:
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
    bounds: ConnectionLimits,
    meter: ConnectionMetrics,
    *,
    drain_seconds: float,
) -> int:
    """Serve until SIGTERM or SIGINT, then answer what was taken; the exit code.

    The application is made once it is certain that it may be served.  After SIGTERM it is not ready, and goes
    on for `drain_seconds`.
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
    server = DrainingServer(config(application(), bounded(room, meter)), drain_seconds)
    collect_seldom(YOUNG_OBJECTS, 20, 100)
    server.run(sockets=[listener])
    return 0


class DrainingServer(uvicorn.Server):
    """Drains before it stops, so that no client is refused that looks at `/readyz` once a second.

    After SIGTERM it takes connections and requests as before, but answers each with
    `Connection: close`: clients with connections of their own go elsewhere with the next request.  A second
    signal ends that at once, as does SIGINT (Ctrl-C).
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._drained_at: float | None = None
        """When the drain ends, in monotonic seconds; None before it has begun."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's)
        """Begin to stop; an application that has `stopping` hears when no more is taken."""
        is_second = self._drained_at is not None
        now = time.monotonic()
        self._drained_at = now if is_second or sig != signal.SIGTERM else now + self._drain_seconds
        self.config.app.health.stop()  # type: ignore[union-attr]
        protocol: Any = self.config.http
        protocol.is_draining = True
        self._captured_signals.append(sig)

    async def on_tick(self, counter: int) -> bool:
        """Look whether it is time to end, ten times a second."""
        if self._drained_at is not None:
            self._end_connections()
            if time.monotonic() >= self._drained_at and not self.should_exit:
                self.should_exit = True
                getattr(self.config.app, "stopping", lambda: None)()
        return await super().on_tick(counter)

    def _end_connections(self) -> None:
        """Have connections end that are waiting for an answer already, as those will that ask from now on."""
        for connection in self.server_state.connections:
            cycle = connection.cycle  # type: ignore[union-attr]
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False


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
