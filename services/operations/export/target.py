"""Where an export goes: a file that appears once it is whole, or standard output.

Until then the rows are in `FILE.partial`, and `FILE.partial.json` says how far they can be relied on: a kill
may leave more bytes than that, or bytes that never came to the disk, and both are noticed.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from zlib import crc32

import orjson

from services.operations.exits import UsageError

SAVED_EVERY_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Mark:
    """How far the file is: rows, the request id of the last one, bytes, and the CRC-32 of these."""

    rows: int = 0
    last: str = ""
    size: int = 0
    crc: int = 0

    def after(self, records: bytes, rows: int, last: str) -> "Mark":
        """Return the mark behind these records, the last of which has this id."""
        return Mark(rows, last or self.last, self.size + len(records), crc32(records, self.crc))


class Target(Protocol):
    """Takes whole records."""

    mark: Mark

    def add(self, records: bytes, rows: int, last: str) -> None:
        """Write records; there are so many rows then, the last of this id."""

    def again(self) -> None:
        """Forget everything: the file starts anew."""


class StandardOutput:
    """What is written is gone."""

    def __init__(self) -> None:
        self.mark = Mark()

    def add(self, records: bytes, rows: int, last: str) -> None:
        """Write records."""
        self.mark = self.mark.after(records, rows, last)
        sys.stdout.buffer.write(records)
        sys.stdout.buffer.flush()

    def again(self) -> None:
        """Refuse: it cannot be taken back."""
        if self.mark.size:
            raise UsageError("the transfer was cut, and this format cannot go on; export to a file")


class PartialFile:
    """The file while it is not whole.  `question` is what it has to be the answer of to be gone on with."""

    def __init__(self, path: Path, question: Any) -> None:
        self.path = path
        self.mark = Mark()
        self._question = question
        self._partial = path.with_name(f"{path.name}.partial")
        self._notes = path.with_name(f"{path.name}.partial.json")
        self._saved = 0
        self._finished = False
        self._file: IO[bytes]

    @contextmanager
    def opened(self, *, restart: bool) -> Iterator["PartialFile"]:
        """Hold the file; UsageError when another export does, or nothing can be written there."""
        try:
            self._file = os.fdopen(
                os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b"
            )
        except OSError as error:
            raise UsageError(f"cannot write to {self._partial} ({error.strerror})") from error
        with self._file:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path} is being written by another `afterword export`") from None
            self.mark = Mark() if restart else self._checked()
            self._file.truncate(self.mark.size)
            self._file.seek(self.mark.size)
            try:
                yield self
            finally:
                self._leave()

    def add(self, records: bytes, rows: int, last: str) -> None:
        """Write records, and at first, then now and then, how far the file is."""
        self._file.write(records)
        self.mark = self.mark.after(records, rows, last)
        if rows and (not self._saved or self.mark.size - self._saved >= SAVED_EVERY_BYTES):
            self.save()

    def again(self) -> None:
        """Start anew."""
        self.mark, self._saved = Mark(), 0
        self._file.seek(0)
        self._file.truncate()

    def save(self) -> None:
        """Note how far the file is."""
        self._file.flush()
        self._saved = self.mark.size
        note = orjson.dumps({"question": self._question, "mark": asdict(self.mark)})
        fresh = self._notes.with_name(f"{self._notes.name}.new")
        fresh.write_bytes(note)
        fresh.replace(self._notes)

    def finish(self) -> None:
        """Put the whole file in its place, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.replace(self.path)
        self._notes.unlink(missing_ok=True)
        self._finished = True

    def _leave(self) -> None:
        """Keep what a later call can go on with, and nothing else."""
        if self._finished:
            return
        if self.mark.rows:
            self.save()
        else:
            self._partial.unlink()
            self._notes.unlink(missing_ok=True)

    def _checked(self) -> Mark:
        """Return how far the file can be relied on; its beginning, unless it is an answer to the question."""
        try:
            note = orjson.loads(self._notes.read_bytes())
            mark = Mark(**note["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            return Mark()
        is_it = note["question"] == self._question and self._crc_of(mark.size) == mark.crc
        return mark if is_it else Mark()

    def _crc_of(self, size: int) -> int | None:
        self._file.seek(0)
        crc, left = 0, size
        while left and (block := self._file.read(min(left, _BLOCK_BYTES))):
            crc, left = crc32(block, crc), left - len(block)
        return None if left else crc
