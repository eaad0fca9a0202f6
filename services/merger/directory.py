"""The directory of one merger: local copies of rows, and small files beside them.

- `<home>/merger/`, or `merger-2` for a second merger on the same host
- `lock`, held while the process runs
- `v<generation>/deployment.json`: the Kafka cluster that the copies are of
- `v<generation>/refused.json`: why this merger refuses to work, while it does
- `v<generation>/<partition>/`: RocksDB; `<partition>.stranger/`: a copy of another partition, set aside
- `v<generation>/<partition>.attempt`: which records the process is folding
"""

import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.pipeline.core.continuity import ContinuityProblem, Recorded

_REFUSED = "refused.json"


class DirectoryUnusable(Exception):  # noqa: N818 (a state, not a fault)
    """The directory is in use or cannot be written; the message names what to change."""


class Directory:
    """Paths of one generation, locked for this process until closed."""

    def __init__(self, home: Path, instance: int, generation: int) -> None:
        """Create the directory if needed, and lock it; DirectoryUnusable if that is impossible."""
        self.path = home.expanduser().absolute() / ("merger" if instance == 1 else f"merger-{instance}")
        self.generation = generation
        self._generation = self.path / f"v{generation}"
        try:
            self._generation.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DirectoryUnusable(
                f"{self.path} cannot be written ({error.strerror}): set AFTERWORD_HOME to another directory"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DirectoryUnusable(
                f"another merger uses {self.path}: stop it, or give this one"
                f" MERGER_INSTANCE={instance + 1} and another MERGER_METRICS_PORT"
            ) from None

    def switch_to(self, generation: int) -> None:
        """Switch to another generation."""
        self.generation = generation
        self._generation = self.path / f"v{generation}"
        self._generation.mkdir(exist_ok=True)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def store(self, partition: int) -> Path:
        """Return the path of a partition's local copy."""
        return self._generation / str(partition)

    def attempt(self, partition: int) -> Path:
        """Return the path of the file that marks which records are being folded."""
        return self._generation / f"{partition}.attempt"

    def stores(self) -> dict[int, Path]:
        """Return the local copies that exist, by partition."""
        return {int(path.name): path for path in self._generation.iterdir() if path.name.isdigit()}

    def recorded(self) -> Recorded | None:
        """Return the cluster that the copies are of, None if it was never recorded."""
        try:
            return Recorded(**json.loads(self._deployment.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def record(self, deployment: Recorded) -> None:
        """Record the cluster that the copies are of."""
        incoming = self._deployment.with_suffix(".incoming")
        incoming.write_text(json.dumps(vars(deployment)) + "\n")
        incoming.replace(self._deployment)

    def refused(self) -> list[ContinuityProblem]:
        """Return the problems for which this merger last refused to start in the generation."""
        try:
            return msgspec.json.decode(
                (self._generation / _REFUSED).read_bytes(), type=list[ContinuityProblem]
            )
        except (FileNotFoundError, msgspec.MsgspecError):
            return []

    def note_refused(self, problems: Sequence[ContinuityProblem]) -> None:
        """Record the problems for which the merger refuses to start; none removes the record."""
        path = self._generation / _REFUSED
        if problems:
            path.write_bytes(msgspec.json.encode(problems) + b"\n")
        else:
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete all local copies of this generation: they are of another cluster."""
        shutil.rmtree(self._generation)
        self._generation.mkdir()

    @property
    def _deployment(self) -> Path:
        return self._generation / "deployment.json"
