"""The directory of one local stack, `$AFTERWORD_HOME/{kafka,warehouse,merger,jars,run,logs}`: its records."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.local.core.plan import INGEST, KAFKA, QUERY, WAREHOUSE
from services.runtime.file_lock import AlreadyLockedError, locked

MAX_LOG_BYTES = 16 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)
"""The error numbers of writes to a full disk, or past the user's quota."""


class HomeError(Exception):
    """Raised when the directory cannot be used; the text names what to change."""


class Home:
    """Paths and records in one stack's directory; `path` is absolute."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.run = self.path / "run"
        self.logs = self.path / "logs"
        self._state = self.run / "state.json"
        self._lock = self.run / "up.lock"

    def make(self) -> None:
        """Create the directories.  HomeError if they cannot be written."""
        try:
            for directory in (self.run, self.logs):
                directory.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=directory):
                    pass
        except OSError as error:
            raise HomeError(
                f"{self.path} cannot be written ({error.strerror}): set AFTERWORD_HOME to another directory"
            ) from error

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Lock the directory for the block.  HomeError if another `afterword up` has it."""
        try:
            with locked(self._lock, wait=False):
                yield
        except AlreadyLockedError:
            owner = self.state().get("pid", "?")
            raise HomeError(
                f"`afterword up` already runs on {self.path} (process {owner}): stop it there, "
                "or set AFTERWORD_HOME to another directory and give this one other ports"
            ) from None

    def log(self, name: str) -> Path:
        """Return the path of a part's log."""
        return self.logs / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Return the path of the file that holds a running part's process id, and nothing else."""
        return self.run / f"{name}.pid"

    def write_pid(self, name: str, pid: int) -> None:
        """Record that a part runs."""
        _write(self.pid_file(name), f"{pid}\n")

    def forget_pid(self, name: str) -> None:
        """Record that a part does not run."""
        self.pid_file(name).unlink(missing_ok=True)

    def state(self) -> dict[str, Any]:
        """Return the supervisor's last record of itself and its parts; empty if there is none."""
        try:
            content: dict[str, Any] = json.loads(self._state.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return content

    def write_state(self, state: dict[str, Any]) -> None:
        """Record the supervisor and its parts, for `afterword status` and for the next start."""
        _write(self._state, json.dumps(state))

    def forget_state(self) -> None:
        """Record that nothing runs."""
        self._state.unlink(missing_ok=True)

    def bound_log(self, name: str) -> None:
        """Move a log that exceeds MAX_LOG_BYTES to `<part>.log.1`, replacing that.

        The part keeps writing to the file that it has open, so the content is copied and the file truncated;
        what it writes between the two, within microseconds, is lost from the log.
        """
        log = self.log(name)
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def _write(path: Path, text: str) -> None:
    """Replace a small file atomically."""
    incoming = path.with_name(f".{path.name}.incoming")
    incoming.write_text(text)
    incoming.replace(path)


_VARIABLES = {
    KAFKA: "KAFKA_BOOTSTRAP_SERVERS",
    WAREHOUSE: "CLICKHOUSE_URL",
    INGEST: "AFTERWORD_URL",
    QUERY: "AFTERWORD_QUERY_URL",
}


def addresses(directory: Path) -> dict[str, str]:
    """Return the addresses of the stack that runs in a directory, by variable; empty if none runs."""
    state = Home(directory).state()
    if not state or not runs(state["pid"], state["created"]):
        return {}
    parts = state["parts"]
    found = {variable: parts.get(name, {}).get("address") for name, variable in _VARIABLES.items()}
    return {variable: address for variable, address in found.items() if address}


def runs(pid: int, created: float) -> bool:
    """Return whether a recorded process still runs; False where psutil is missing, as in an image."""
    try:
        from services.local.processes import Identity, is_running  # noqa: PLC0415 (without it, no stack runs)
    except ModuleNotFoundError:
        return False
    return is_running(Identity(pid, created))
