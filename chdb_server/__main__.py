"""Runs the warehouse: python -m chdb_server [DIRECTORY] [--port N]."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chdb_server.settings import WarehouseSettings
from chdb_server.startup import CannotStartError, own_directory, own_port
from services.runtime import logs
from services.runtime.settings import SettingsError, load

EXIT_SETTINGS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = load(WarehouseSettings)
        if given.port is not None:
            settings = settings.on_port(given.port)
        _run(settings, Path(given.directory or settings.directory))
    except SettingsError as error:
        return _refuse(error.mistakes)
    except CannotStartError as error:
        return _refuse([str(error)])
    return 0


def _run(settings: WarehouseSettings, directory: Path) -> None:
    with own_directory(directory) as owned, own_port(settings) as listener:
        # Imported here because it loads the engine, which a refused start should not wait for.
        from chdb_server.serving import run  # noqa: PLC0415

        logs.configure("warehouse", settings)
        run(settings, owned, listener)


def _refuse(mistakes: list[str]) -> int:
    sys.stderr.write("".join(f"{mistake}\n" for mistake in mistakes))
    return EXIT_SETTINGS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chdb_server",
        description="An embedded ClickHouse with ClickHouse's HTTP interface, for this machine only.",
        epilog="Settings come from the environment: CLICKHOUSE_URL, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, "
        "WAREHOUSE_*, LOG_LEVEL, LOG_FORMAT. Data survives kill -9; one process owns a directory at a time.",
    )
    parser.add_argument(
        "directory", nargs="?", help="the data directory (default: $AFTERWORD_HOME/warehouse)"
    )
    parser.add_argument("--port", type=_port, help="instead of the port in CLICKHOUSE_URL; 0: any free port")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
