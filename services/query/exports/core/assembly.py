"""One export file: its format, and its assembly from the blocks of ClickHouse's answer."""

from collections.abc import Callable
from typing import NamedTuple

from services.query.exports.core.encoder import Compressor, ExportEnding, FileEncoder, FileOptions
from services.query.exports.core.parquet_file import ParquetFile
from services.query.exports.core.rows import ExportSelection, RowParser
from services.query.exports.core.text_files import CsvFile, NdjsonFile


class FileFormat(NamedTuple):
    """A format: its name is also the suffix of its files."""

    name: str
    media_type: str
    encoder: Callable[[FileOptions], FileEncoder]
    options: tuple[str, ...] = ()
    """The options that apply to it."""
    is_compressed: bool = False
    """Whether it is compressed already, so that a content encoding is useless."""


FORMATS = {
    format_.name: format_
    for format_ in (
        FileFormat("csv", "text/csv; charset=utf-8; header=present", CsvFile, ("trailer", "bom")),
        FileFormat("ndjson", "application/x-ndjson", NdjsonFile, ("trailer",)),
        FileFormat("parquet", "application/vnd.apache.parquet", ParquetFile, is_compressed=True),
    )
}

DEFAULT_FORMAT = "ndjson"


class Assembly:
    """The state of one export: it turns each block into bytes of the file, and counts rows."""

    def __init__(
        self, wanted: ExportSelection, encoder: FileEncoder, compressor: Compressor | None = None
    ) -> None:
        self._wanted, self._encoder, self._compressor = wanted, encoder, compressor
        self._lines = RowParser()
        self._total: int | None = None
        self._last = ""
        self.rows = 0
        """Rows so far."""

    @property
    def expected(self) -> int:
        """Rows that the file will have, counted when ClickHouse began; 0 before the first block."""
        total = self._total or 0
        return total if self._wanted.limit is None else min(total, self._wanted.limit)

    @property
    def left(self) -> ExportSelection:
        """The rows that remain to be read."""
        return self._wanted.following(self._last, self.rows)

    def begin(self) -> bytes:
        """Return the bytes before the first row."""
        return self._compressed(self._encoder.begin())

    def feed(self, block: bytes) -> bytes:
        """Return the bytes that are ready after this block; raise BrokenAnswerError."""
        rows = self._lines.feed(block)
        if rows:
            self._total = self._lines.total if self._total is None else self._total
            self._last, self.rows = rows[-1][0], self.rows + len(rows)
        return self._compressed(self._encoder.rows(rows))

    def answered(self) -> None:
        """Raise BrokenAnswerError if the result was truncated."""
        self._lines.end()

    def again(self) -> None:
        """Expect another result, of the rows that are `left`, after one failed."""
        self._lines = RowParser()

    def end(self) -> bytes:
        """Return the rest of the file."""
        piece = self._compressed(self._encoder.end(self.ending()))
        return piece + (self._compressor.flush() if self._compressor else b"")

    def ending(self) -> ExportEnding:
        """Return how the export ended."""
        limit = self._wanted.limit
        complete = limit is None or self.rows < limit or self.rows >= (self._total or 0)
        return ExportEnding(self.rows, None if complete else self._last, complete)

    def _compressed(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece) if self._compressor else piece
