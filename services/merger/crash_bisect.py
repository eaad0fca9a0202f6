"""What the merger was about to merge when its process ended, so that no event can end it for ever.

A mark is set right before records are folded and taken off right after.  An end at any other moment,
such as a kill while Kafka answers, is not held against the records.
"""

import os
from pathlib import Path

import msgspec

MAX_ENDS = 3
"""How often a batch may end the process before the record that does it is looked for."""
_PIECES = 16
"""Into how many a batch is cut for that, again and again: few ends of the process, and few transactions."""

_WIDTH = 128


class Mark(msgspec.Struct, frozen=True):
    """Records that are being folded: from `offset` to before `until`.

    `ends` says how often the process has ended so far while it folded what begins at `offset`, `is_piece`
    that they are a part of a batch in which a culprit is looked for.
    """

    offset: int
    until: int
    ends: int = 0
    is_piece: bool = False

    @property
    def is_culprit(self) -> bool:
        """Whether this very record ended a process, while it was looked for."""
        return self.is_piece and self.until - self.offset == 1

    @property
    def is_suspect(self) -> bool:
        """Whether one of these records is to be looked for."""
        return self.is_piece or self.ends >= MAX_ENDS

    def pieces(self) -> list[tuple[int, int]]:
        """Return the parts, each from an offset to before another, to be merged one after the other."""
        size = -(-(self.until - self.offset) // _PIECES)
        return [(start, min(start + size, self.until)) for start in range(self.offset, self.until, size)]


class Attempts:
    """The mark of one partition.  Its file outlives any kind of end but a loss of power."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        mark = _parsed(os.pread(self._file, _WIDTH, 0))
        self._left = msgspec.structs.replace(mark, ends=mark.ends + 1) if mark else None

    def left(self, offset: int) -> Mark | None:
        """Return the mark under which the process ended, if it was about what begins at `offset`."""
        return self._left if self._left and self._left.offset == offset else None

    def begin(self, offset: int, until: int, *, is_piece: bool = False) -> None:
        """Set the mark."""
        left = self.left(offset)
        self._write(msgspec.json.encode(Mark(offset, until, left.ends if left else 0, is_piece)))

    def finish(self) -> None:
        """Take the mark off: nothing that happens now is the records' fault."""
        self._left = None
        self._write(b"")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, text: bytes) -> None:
        os.pwrite(self._file, text.ljust(_WIDTH), 0)


def _parsed(text: bytes) -> Mark | None:
    try:
        return msgspec.json.decode(text, type=Mark)
    except msgspec.DecodeError:
        return None
