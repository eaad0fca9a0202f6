"""Takes the directory and the port of a warehouse before it starts, or refuses to start in one line."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chdb_server.settings import WarehouseSettings
from services.runtime.file_lock import AlreadyLockedError, locked

LOCK = "warehouse.lock"
_SHORT = 600


class CannotStartError(Exception):
    """Raised when the warehouse cannot start; one line with the reason and the remedy."""


def shortened(text: str) -> str:
    """Return an error, which may quote a table's definition, in one line of about 600 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT // 2]} … {line[-_SHORT // 2 :]}"


@contextmanager
def own_directory(directory: Path) -> Iterator[Path]:
    """Create a directory, and lock it for the block.  CannotStartError if it cannot be used."""
    directory = _writable(directory)
    try:
        with locked(directory / LOCK, wait=False):
            yield directory
    except AlreadyLockedError:
        text = f"{directory} is in use by another warehouse: stop that one, or name another directory."
        raise CannotStartError(text) from None


@contextmanager
def own_port(settings: WarehouseSettings) -> Iterator[socket.socket]:
    """Bind the port for the block, without listening yet.  CannotStartError if it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        # Connections in TIME_WAIT of an earlier run must not count as taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise CannotStartError(
                f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}): "
                "stop what uses the port, or set CLICKHOUSE_URL to another one."
            ) from None
        yield listener


def set_aside_cut_mutations(directory: Path) -> list[Path]:
    """Rename the files of mutations that were not written completely, and return their new paths.

    The engine renames the file of a mutation into place even if a full disk took none or only a part of it;
    one such file prevents its table, and so the engine, from starting.  Losing the mutation is safe, since
    its client repeats it: erasures are repeated until no matching rows exist.
    """
    return [
        path.rename(path.with_name(f"cut_{path.name}"))
        for path in directory.glob("store/*/*/mutation_*.txt")
        if not path.read_bytes().endswith(b"\n")
    ]


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
