"""Parquet: typed columns, in row groups that are written as the rows come.  Pure: bytes go to memory.

What is held back is one row group.  The footer grows by a few kilobytes a group.
"""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from services.query.exports.columns import COLUMNS, NAMES, NULLABLE, Kind
from services.query.exports.encoder import Ending, Options
from services.query.exports.lines import Row

GROUP_ROWS = 50_000
GROUP_BYTES = 32 << 20
"""A row group ends with whichever is reached first."""

METADATA = "afterword.export"
"""The key of the footer's metadata whose value says, as JSON, how the export ended."""

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.VERSION: pa.uint64(),
    Kind.TIME: pa.timestamp("us", "UTC"),
    Kind.NUMBER: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.TEXTS: pa.list_(pa.field("element", pa.string(), nullable=False)),
    Kind.OBJECT: pa.string(),
}
SCHEMA = pa.schema(
    [pa.field(column.name, _TYPES[column.kind], nullable=column.name in NULLABLE) for column in COLUMNS]
)
_FEW_VALUES = ["sources.list.element", "vote", "sentiment", "tags.list.element", "model", "provider"]
_LONG_VALUES = ("data", "request", "comment")


class ParquetFile:
    """Encodes rows as Parquet."""

    def __init__(self, _options: Options) -> None:
        self._out = _Out()
        self._waiting: list[Any] = []
        self._writer: Any = pq.ParquetWriter(
            self._out,
            SCHEMA,
            compression="zstd",
            use_dictionary=_FEW_VALUES,
            write_statistics=[name for name in NAMES if name not in _LONG_VALUES],
            sorting_columns=[pq.SortingColumn(NAMES.index("request_id"))],
        )

    def begin(self) -> bytes:
        """Return the magic bytes."""
        return self._out.taken()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a row group whenever one is full."""
        if rows:
            self._waiting.append(_batch(rows))
        held = sum(batch.num_rows for batch in self._waiting), sum(batch.nbytes for batch in self._waiting)
        if held[0] >= GROUP_ROWS or held[1] >= GROUP_BYTES:
            self._write_group()
        return self._out.taken()

    def end(self, ending: Ending) -> bytes:
        """Return the last row group and the footer."""
        self._write_group()
        self._writer.add_key_value_metadata({METADATA: ending.json()})
        self._writer.close()
        return self._out.taken()

    def _write_group(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, SCHEMA)
            self._waiting = []
            self._writer.write_table(table, row_group_size=table.num_rows)


def _batch(rows: Sequence[Row]) -> Any:
    columns = zip(*rows, strict=True)
    arrays = [_ARRAYS[column.kind](texts) for column, texts in zip(COLUMNS, columns, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def _texts(texts: Sequence[str]) -> Any:
    return pa.array(texts, pa.string())


def _cast(kind: Kind) -> Callable[[Sequence[str]], Any]:
    """Return what makes a column of texts one of another type; empty texts are NULL."""
    return lambda texts: pa.array([text or None for text in texts], pa.string()).cast(_TYPES[kind])


def _lists(texts: Sequence[str]) -> Any:
    return pa.array([orjson.loads(text) for text in texts], _TYPES[Kind.TEXTS])


_ARRAYS: dict[Kind, Callable[[Sequence[str]], Any]] = {
    Kind.TEXT: _texts,
    Kind.OBJECT: _texts,
    Kind.TEXTS: _lists,
    **{kind: _cast(kind) for kind in (Kind.VERSION, Kind.TIME, Kind.NUMBER, Kind.FLAG)},
}


class _Out:
    """A file that is only written to, and hands over what was written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def flush(self) -> None:
        """Do nothing: there is nothing beneath."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
