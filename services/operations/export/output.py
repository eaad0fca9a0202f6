"""The output of an export: a file that appears once it is complete, or standard output.

Until then the rows are in `FILE.partial`, and `FILE.partial.json` has their length and checksum: a kill may
leave more bytes than that, or bytes that never reached the disk, and both are detected.
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
class ExportMark:
    """The progress of a file: rows, the request id of the last one, bytes, and their CRC-32."""

    rows: int = 0
    last: str = ""
    size: int = 0
    crc: int = 0

    def after(self, records: bytes, rows: int, last: str) -> "ExportMark":
        """Return the mark behind these records, the last of which has this id."""
        return ExportMark(rows, last or self.last, self.size + len(records), crc32(records, self.crc))


class ExportTarget(Protocol):
    """Accepts whole records."""

    mark: ExportMark

    def add(self, records: bytes, rows: int, last: str) -> None:
        """Write records; `rows` is the total then, `last` the request id of the last one."""

    def restart(self) -> None:
        """Discard everything, to start from the beginning."""


class StandardOutput:
    """Standard output, which cannot be resumed by a later call."""

    def __init__(self) -> None:
        self.mark = ExportMark()

    def add(self, records: bytes, rows: int, last: str) -> None:
        """Write records."""
        self.mark = self.mark.after(records, rows, last)
        sys.stdout.buffer.write(records)
        sys.stdout.buffer.flush()

    def restart(self) -> None:
        """UsageError if anything was written: it cannot be taken back."""
        if self.mark.size:
            raise UsageError("the transfer was cut, and this format cannot be resumed; export to a file")


class PartialFile:
    """A file that is not complete yet.  It is resumed only for an equal `request`."""

    def __init__(self, path: Path, request: Any) -> None:
        self.path = path
        self.mark = ExportMark()
        self._request = request
        self._partial = path.with_name(f"{path.name}.partial")
        self._notes = path.with_name(f"{path.name}.partial.json")
        self._saved = 0
        self._finished = False
        self._file: IO[bytes]

    @contextmanager
    def opened(self, *, restart: bool) -> Iterator["PartialFile"]:
        """Open and lock the file; UsageError if another export has it, or it cannot be written."""
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
            self.mark = ExportMark() if restart else self._checked()
            self._file.truncate(self.mark.size)
            self._file.seek(self.mark.size)
            try:
                yield self
            finally:
                self._leave()

    def add(self, records: bytes, rows: int, last: str) -> None:
        """Write records, and now and then the progress."""
        self._file.write(records)
        self.mark = self.mark.after(records, rows, last)
        if rows and (not self._saved or self.mark.size - self._saved >= SAVED_EVERY_BYTES):
            self.save()

    def restart(self) -> None:
        """Start from the beginning."""
        self.mark, self._saved = ExportMark(), 0
        self._file.seek(0)
        self._file.truncate()

    def save(self) -> None:
        """Store the progress."""
        self._file.flush()
        self._saved = self.mark.size
        note = orjson.dumps({"question": self._request, "mark": asdict(self.mark)})
        fresh = self._notes.with_name(f"{self._notes.name}.new")
        fresh.write_bytes(note)
        fresh.replace(self._notes)

    def finish(self) -> None:
        """Rename the complete file to its final name, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.replace(self.path)
        self._notes.unlink(missing_ok=True)
        self._finished = True

    def _leave(self) -> None:
        """Keep what a later call can resume, and nothing else."""
        if self._finished:
            return
        if self.mark.rows:
            self.save()
        else:
            self._partial.unlink()
            self._notes.unlink(missing_ok=True)

    def _checked(self) -> ExportMark:
        """Return the progress that can be relied on: none, unless request and checksum match."""
        try:
            note = orjson.loads(self._notes.read_bytes())
            mark = ExportMark(**note["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            return ExportMark()
        matches = note["question"] == self._request and self._crc_of(mark.size) == mark.crc
        return mark if matches else ExportMark()

    def _crc_of(self, size: int) -> int | None:
        self._file.seek(0)
        crc, left = 0, size
        while left and (block := self._file.read(min(left, _BLOCK_BYTES))):
            crc, left = crc32(block, crc), left - len(block)
        return None if left else crc
