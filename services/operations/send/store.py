"""Keep the progress of a file on disk: one small file, replaced as a whole, and a lock while it is sent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from services.operations.exits import UsageError
from services.operations.send.core.progress import Progress
from services.runtime.file_lock import AlreadyLockedError, locked


def state_directory() -> Path:
    """Return where progress is kept unless the user says otherwise: the XDG state directory."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "afterword" / "send"


class Store:
    """The progress of one file towards one server, with one key."""

    def __init__(self, directory: Path, path: Path, url: str, key: str | None) -> None:
        sending = "\n".join((str(path.resolve()), url, key or ""))
        self._path = directory / f"{path.name}.{sha256(sending.encode()).hexdigest()[:16]}.json"
        self._sent = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other `send` away from the file; UsageError when one is at it or nothing can be kept."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = locked(self._path.with_suffix(".lock"), wait=False)
            lock.__enter__()
        except AlreadyLockedError as error:
            raise UsageError(f"{self._sent} is being sent by another `afterword send` right now") from error
        except OSError as error:
            raise UsageError(
                f"cannot keep progress in {self._path.parent} ({error.strerror}); name another --state-dir"
            ) from error
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def load(self) -> Progress | None:
        """Return how far the file is, None if it was never sent; UsageError when that cannot be read."""
        try:
            return Progress.decoded(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError(
                f"{self._path} cannot be read ({error}); --restart sends from the start"
            ) from error

    def save(self, progress: Progress) -> None:
        """Store the progress, durably: the next batch of a lane is sent only after this."""
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(progress.encoded())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
