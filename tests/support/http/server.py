"""An application behind a real server on a free port, as our processes serve it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from services.runtime.http import server as processes
from services.runtime.http.bounded import BoundedProtocol
from tests.support.eventually import eventually


@asynccontextmanager
async def serving(app: Any, protocol: type[BoundedProtocol] = BoundedProtocol) -> AsyncIterator[str]:
    """Serve an application as `python -m services.ingest` and `services.query` do, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(processes.config(app, protocol))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await eventually(lambda: server.started or running.done(), every=0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to pytest."""
        yield
