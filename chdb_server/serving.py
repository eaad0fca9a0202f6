"""The warehouse's life: the engine opened, requests served, signals, and the order of stopping."""

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
from chdb_server.connections import Connections
from chdb_server.places import CannotStartError, set_aside_cut_mutations, shortened
from chdb_server.settings import WarehouseSettings
from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 60
_HEAD_BYTES = 1 << 20
"""A query may come in the address: as much as a ClickHouse server lets through."""
_BEYOND_GRACE_SECONDS = 3
"""For queries to be killed in; then connections that still hang are cut."""


def run(settings: WarehouseSettings, directory: Path, listener: socket.socket) -> None:
    """Serve a directory on a bound socket until SIGTERM or SIGINT.  CannotStartError if the engine cannot."""
    # uvicorn reports each answer that is broken off on purpose as an error of the application.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    for path in set_aside_cut_mutations(directory):
        log.warning("set aside a mutation that was not written whole", path=str(path))
    try:
        connections = Connections(directory, settings.warehouse_memory_bytes)
    except RuntimeError as error:
        log.exception("the engine cannot open its directory", directory=str(directory))
        raise CannotStartError(f"The engine cannot open {directory}: {shortened(str(error))}") from None
    warehouse = Warehouse(connections, settings)
    host, port = listener.getsockname()[:2]
    log.info("warehouse started", host=host, port=port, directory=str(directory), version=connections.version)
    # With asyncio's own loop each small answer waits 40 ms for an acknowledgement: it leaves Nagle's
    # algorithm on for sockets that were made outside it.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(warehouse, listener, settings))
    ended = warehouse.close()
    log.info("warehouse stopped", queries_ended=ended)
    if not ended:
        # A thread is still in the engine, and would keep the process for as long as its query takes.
        sys.stdout.flush()
        os._exit(0)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`."""
        yield


async def _serve(warehouse: Warehouse, listener: socket.socket, settings: WarehouseSettings) -> None:
    """Serve until a signal comes, then stop: no new queries, running ones end or are killed."""
    bounds = ConnectionLimits(
        head_bytes=_HEAD_BYTES,
        idle_seconds=_KEEP_ALIVE_SECONDS,
        rest_bytes=1
        << 40,  # bounded by time alone: a client that still sends comes to read why it is refused
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
