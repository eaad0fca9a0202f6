"""Run the warehouse: python -m services.local.warehouse [DIRECTORY] [--port N]."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from services.local.lock import AlreadyLockedError, locked
from services.local.warehouse.app import Warehouse
from services.local.warehouse.connections import Connections
from services.local.warehouse.serving import serve
from services.local.warehouse.settings import WarehouseSettings
from services.runtime import logs
from services.runtime.settings import SettingsError, load

log = structlog.get_logger()

EXIT_SETTINGS = 2
LOCK = "warehouse.lock"


class CannotStartError(Exception):
    """One line that says what is wrong, and what to change."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = load(WarehouseSettings)
        if given.port is not None:
            settings = settings.on_port(given.port)
        logs.configure("warehouse", settings)
        _run(settings, Path(given.directory or settings.directory))
    except SettingsError as error:
        return _refuse(error.mistakes)
    except CannotStartError as error:
        return _refuse([str(error)])
    return 0


def _refuse(mistakes: list[str]) -> int:
    sys.stderr.write("".join(f"{mistake}\n" for mistake in mistakes))
    return EXIT_SETTINGS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.local.warehouse",
        description="An embedded ClickHouse that speaks ClickHouse's HTTP interface, for this machine only.",
        epilog="Settings come from the environment: CLICKHOUSE_URL, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, "
        "WAREHOUSE_*, LOG_LEVEL, LOG_FORMAT. Data survives kill -9; one process owns a directory at a time.",
    )
    parser.add_argument("directory", nargs="?", help="where the data is (default: $AFTERWORD_HOME/warehouse)")
    parser.add_argument("--port", type=_port, help="instead of CLICKHOUSE_URL's; 0 takes any free port")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _run(settings: WarehouseSettings, directory: Path) -> None:
    directory = _writable(directory)
    try:
        with locked(directory / LOCK, wait=False), _listener(settings) as listener:
            _serve(settings, directory, listener)
    except AlreadyLockedError:
        raise CannotStartError(
            f"{directory} is in use by another warehouse: stop that one, or name another directory."
        ) from None


def _writable(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStartError(f"{directory} cannot be created: {error.strerror}.") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CannotStartError(f"{directory} is not writable: change its owner, or name another directory.")
    if "?" in str(directory):
        raise CannotStartError(f"{directory}: the engine takes no `?` in a path; name another directory.")
    return directory.resolve()


def _listener(settings: WarehouseSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise CannotStartError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}): "
            "stop what uses the port, or set CLICKHOUSE_URL to another one."
        ) from None
    return listener


def _serve(settings: WarehouseSettings, directory: Path, listener: socket.socket) -> None:
    # uvicorn reports each answer that is broken off on purpose as an error of the application.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    try:
        connections = Connections(directory, settings.warehouse_memory_bytes)
    except RuntimeError as error:
        raise CannotStartError(f"The engine cannot open {directory}: {error}") from None
    warehouse = Warehouse(connections, settings)
    host, port = listener.getsockname()[:2]
    log.info("warehouse started", host=host, port=port, directory=str(directory), version=connections.version)
    asyncio.run(serve(warehouse, listener, settings.warehouse_grace_seconds))
    ended = warehouse.close()
    log.info("warehouse stopped", queries_ended=ended)
    if not ended:
        # A thread is still in the engine, and would keep the process for as long as its query takes.
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
