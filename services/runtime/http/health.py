"""Liveness, readiness and metrics over HTTP.

Liveness fails when only a restart can help.  Readiness is whether the process does its work now; it may fail
for as long as a server is unreachable, and is no reason for a restart.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn

from services.runtime import metrics
from services.runtime.http.bounded import BoundedProtocol

Check = Callable[[], str | None]
"""Returns what is wrong in a few words, or None."""

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


@dataclass
class Health:
    """The checks of one process, by name."""

    liveness: dict[str, Check] = field(default_factory=dict)
    readiness: dict[str, Check] = field(default_factory=dict)
    warnings: dict[str, Check] = field(default_factory=dict)
    """What an operator has to fix, though the process does its work; it fails no probe."""

    def stop(self) -> None:
        """Fail readiness from now on: the process is stopping."""
        self.readiness["stop"] = lambda: "stopping"

    def live(self) -> tuple[int, dict[str, Any]]:
        """Return the status and body of `/livez`."""
        return _judge(self.liveness)

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Return the status and body of `/readyz`; what is not alive is not ready either."""
        status, body = _judge(self.liveness | self.readiness)
        warnings = _wrong(self.warnings)
        return status, body | ({"warnings": warnings} if warnings else {})


def _judge(checks: dict[str, Check]) -> tuple[int, dict[str, Any]]:
    wrong = _wrong(checks)
    return (503 if wrong else 200), {"status": "failing" if wrong else "ok", "failing": wrong}


def _wrong(checks: dict[str, Check]) -> dict[str, str]:
    results = {name: check() for name, check in checks.items()}
    return {name: result for name, result in results.items() if result is not None}


def probe_app(health: Health) -> App:
    """Return an ASGI application that answers `/livez`, `/readyz` and `/metrics`."""

    async def app(scope: Scope, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        status, kind, body = _answer(health, scope["path"])
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _answer(health: Health, path: str) -> tuple[int, str, bytes]:
    if path == "/metrics":
        return 200, metrics.CONTENT_TYPE, metrics.page()
    if path in ("/livez", "/readyz"):
        status, body = health.live() if path == "/livez" else health.ready()
        return status, "application/json", orjson.dumps(body)
    return 404, "text/plain", b"try /livez, /readyz or /metrics\n"


@asynccontextmanager
async def serve(app: App, host: str, port: int) -> AsyncIterator[int]:
    """Serve an application beside the process's own work, and yield the port it got.

    OSError when the port is taken.  Signals are handled by the process.
    """
    with socket.create_server((host, port)) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="none", http=BoundedProtocol
        )
        server = _ProbeServer(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="health")
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


class _ProbeServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the process has its own handlers."""
        yield
