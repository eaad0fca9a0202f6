"""Finds the record that crashes the merger, so that one event cannot stop it for good.

A mark is written to a file right before records are folded, and cleared right after.  If the process ends at
any other moment, for example killed while it waits for Kafka, the records are not suspected.
"""

import os
from pathlib import Path

import msgspec

MAX_ENDS = 3
"""How many crashes in a batch start the search for the record."""
_PIECES = 16
"""Into how many pieces a batch is split at each step: few crashes, and few transactions."""

_WIDTH = 128


class FoldMark(msgspec.Struct, frozen=True):
    """Records that are being folded: from `offset` to before `until`.

    `ends` is how often the process has ended while it folded records from `offset` on; `is_piece` is set
    for a piece of a batch that is being searched.
    """

    offset: int
    until: int
    ends: int = 0
    is_piece: bool = False

    @property
    def is_culprit(self) -> bool:
        """Whether this single record ended the process."""
        return self.is_piece and self.until - self.offset == 1

    @property
    def is_suspect(self) -> bool:
        """Whether to search these records."""
        return self.is_piece or self.ends >= MAX_ENDS

    def pieces(self) -> list[tuple[int, int]]:
        """Return the pieces as (first, end) offsets, to be merged one after the other."""
        size = -(-(self.until - self.offset) // _PIECES)
        return [(start, min(start + size, self.until)) for start in range(self.offset, self.until, size)]


class CrashBisection:
    """The mark of one partition.  Its file survives any end of the process, but not a power failure."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        mark = _parsed(os.pread(self._file, _WIDTH, 0))
        self._left = msgspec.structs.replace(mark, ends=mark.ends + 1) if mark else None

    def left(self, offset: int) -> FoldMark | None:
        """Return the mark that was set when the process ended, if it is for records from `offset` on."""
        return self._left if self._left and self._left.offset == offset else None

    def begin(self, offset: int, until: int, *, is_piece: bool = False) -> None:
        """Set the mark, right before the records are folded."""
        left = self.left(offset)
        self._write(msgspec.json.encode(FoldMark(offset, until, left.ends if left else 0, is_piece)))

    def finish(self) -> None:
        """Clear the mark: an end of the process from now on does not count against the records."""
        self._left = None
        self._write(b"")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, text: bytes) -> None:
        os.pwrite(self._file, text.ljust(_WIDTH), 0)


def _parsed(text: bytes) -> FoldMark | None:
    try:
        return msgspec.json.decode(text, type=FoldMark)
    except msgspec.DecodeError:
        return None
