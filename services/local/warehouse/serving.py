"""Listening, signals, and the order of stopping."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from services.local.warehouse.app import Warehouse

_KEEP_ALIVE_SECONDS = 60
_BEYOND_GRACE_SECONDS = 4


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`."""
        yield


async def serve(warehouse: Warehouse, listener: socket.socket, grace_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT, then stop: no new queries, running ones end or are killed."""
    config = uvicorn.Config(
        warehouse,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(grace_seconds) + _BEYOND_GRACE_SECONDS,
    )
    server = _Server(config)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await asyncio.gather(serving, warehouse.drain())
