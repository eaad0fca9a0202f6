"""Run the warehouse: python -m chdb_server [DIRECTORY] [--port N]."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chdb_server.places import CannotStartError, own_directory, own_port
from chdb_server.settings import WarehouseSettings
from services.runtime import logs
from services.runtime.settings import SettingsError, load

EXIT_SETTINGS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; the exit code."""
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
    with own_directory(directory) as place, own_port(settings) as listener:
        # It loads the engine, for which nobody should wait who only mistyped.
        from chdb_server.serving import run  # noqa: PLC0415

        logs.configure("warehouse", settings)
        run(settings, place, listener)


def _refuse(mistakes: list[str]) -> int:
    sys.stderr.write("".join(f"{mistake}\n" for mistake in mistakes))
    return EXIT_SETTINGS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chdb_server",
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


if __name__ == "__main__":
    sys.exit(main())
