"""Where a warehouse is to be, on disk and on the network: taken, or refused in one line."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chdb_server.settings import WarehouseSettings
from services.runtime.file_lock import AlreadyLockedError, locked

LOCK = "warehouse.lock"


class CannotStartError(Exception):
    """One line that says what is wrong, and what to change."""


@contextmanager
def own_directory(directory: Path) -> Iterator[Path]:
    """Make a directory, and own it for the block.  CannotStartError when that cannot be."""
    directory = _writable(directory)
    try:
        with locked(directory / LOCK, wait=False):
            yield directory
    except AlreadyLockedError:
        text = f"{directory} is in use by another warehouse: stop that one, or name another directory."
        raise CannotStartError(text) from None


@contextmanager
def own_port(settings: WarehouseSettings) -> Iterator[socket.socket]:
    """Bind the port, on which nobody is answered yet.  CannotStartError when it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        # Connections that linger from an earlier run must not count as taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise CannotStartError(
                f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}): "
                "stop what uses the port, or set CLICKHOUSE_URL to another one."
            ) from None
        yield listener


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
