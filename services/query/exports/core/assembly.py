"""From blocks of ClickHouse's answer to pieces of the file, and the count of what went through.  Pure."""

from services.query.exports.core.encoder import Encoder, Ending
from services.query.exports.core.encodings import Compressor
from services.query.exports.core.lines import Lines
from services.query.exports.core.statement import Wanted


class Assembly:
    """One file being made.  A block goes in, and what it makes comes out before the next one goes in."""

    def __init__(self, wanted: Wanted, encoder: Encoder, compressor: Compressor | None = None) -> None:
        self._wanted, self._encoder, self._compressor = wanted, encoder, compressor
        self._lines = Lines()
        self._total: int | None = None
        self._last = ""
        self.rows = 0
        """Rows that went in so far."""

    @property
    def expected(self) -> int:
        """Rows that the file will have, as counted when ClickHouse began.  Known after the first block."""
        total = self._total or 0
        return total if self._wanted.limit is None else min(total, self._wanted.limit)

    @property
    def left(self) -> Wanted:
        """What is still to be read."""
        return self._wanted.following(self._last, self.rows)

    def begin(self) -> bytes:
        """Return what stands before the first row."""
        return self._compressed(self._encoder.begin())

    def feed(self, block: bytes) -> bytes:
        """Return what is ready after this block; raise BrokenAnswerError."""
        rows = self._lines.feed(block)
        if rows:
            self._total = self._lines.total if self._total is None else self._total
            self._last, self.rows = rows[-1][0], self.rows + len(rows)
        return self._compressed(self._encoder.rows(rows))

    def answered(self) -> None:
        """Raise BrokenAnswerError if the answer that ends here was cut."""
        self._lines.end()

    def again(self) -> None:
        """Expect another answer, of what is `left`, in place of one that failed."""
        self._lines = Lines()

    def end(self) -> bytes:
        """Return the rest of the file."""
        piece = self._compressed(self._encoder.end(self.ending()))
        return piece + (self._compressor.flush() if self._compressor else b"")

    def ending(self) -> Ending:
        """Tell how it ended."""
        limit = self._wanted.limit
        complete = limit is None or self.rows < limit or self.rows >= (self._total or 0)
        return Ending(self.rows, None if complete else self._last, complete)

    def _compressed(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece) if self._compressor else piece
