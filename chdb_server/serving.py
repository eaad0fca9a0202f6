"""Runs the warehouse: opens the engine, serves requests, and stops in order on a signal."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog
import uvicorn
import uvloop

from chdb_server.app import Warehouse
from chdb_server.connections import ChdbEngine
from chdb_server.settings import WarehouseSettings
from chdb_server.startup import CannotStartError, set_aside_cut_mutations, shortened
from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 60
_HEAD_BYTES = 1 << 20
"""A query may be in the URL: the limit of a ClickHouse server."""
_BEYOND_GRACE_SECONDS = 3
"""For killing queries; then connections that are still open are closed."""


def run(settings: WarehouseSettings, directory: Path, listener: socket.socket) -> None:
    """Serve a directory on a bound socket until SIGTERM or SIGINT.  CannotStartError if the engine fails."""
    # uvicorn logs each reply that is broken off on purpose as an error of the application.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    for path in set_aside_cut_mutations(directory):
        log.warning("set aside a mutation that was not written whole", path=str(path))
    try:
        engine = ChdbEngine(directory, settings.warehouse_memory_bytes)
    except RuntimeError as error:
        log.exception("the engine cannot open its directory", directory=str(directory))
        raise CannotStartError(f"The engine cannot open {directory}: {shortened(str(error))}") from None
    warehouse = Warehouse(engine, settings)
    host, port = listener.getsockname()[:2]
    log.info("warehouse started", host=host, port=port, directory=str(directory), version=engine.version)
    # With asyncio's own loop each small reply waits 40 ms for an acknowledgement: it keeps Nagle's algorithm
    # on for sockets that were created outside it.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(warehouse, listener, settings))
    ended = warehouse.close()
    log.info("warehouse stopped", queries_ended=ended)
    if not ended:
        # A thread is still in the engine, and would keep the process until its query ends.
        sys.stdout.flush()
        os._exit(0)


class _WarehouseServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`."""
        yield


async def _serve(warehouse: Warehouse, listener: socket.socket, settings: WarehouseSettings) -> None:
    """Serve until a signal, then stop: refuse new queries, let running ones end or kill them."""
    bounds = ConnectionLimits(
        head_bytes=_HEAD_BYTES,
        idle_seconds=_KEEP_ALIVE_SECONDS,
        rest_bytes=1 << 40,  # limited by time alone, so that a client that still sends reads the refusal
        send_seconds=settings.warehouse_client_timeout_seconds,
    )
    config = uvicorn.Config(
        warehouse,
        http=bounded(bounds),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=bounds.idle_seconds,
        timeout_graceful_shutdown=int(settings.warehouse_grace_seconds) + _BEYOND_GRACE_SECONDS,
    )
    server = _WarehouseServer(config)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await asyncio.gather(serving, warehouse.drain())
