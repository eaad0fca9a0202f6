"""Thrift's compact protocol, as far as the headers of Parquet need it: values in, bytes out.  Pure."""

import struct as packing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from typing import Any, NamedTuple

import orjson

from services.query.exports.core.encoder import ExportEnding, FileOptions, compressor
from services.query.exports.core.rows import COLUMNS, NAMES, NULLABLE, ExportColumn, Row, TextKind

_I8, _I32, _I64, _BINARY, _LIST_TYPE, _STRUCT = 3, 5, 6, 8, 9, 12


class ThriftValue(NamedTuple):
    """A Thrift value: the number of its type, and its bytes."""

    type: int
    data: bytes


TRUE, FALSE = ThriftValue(1, b""), ThriftValue(2, b"")
"""In Thrift, each is a type of its own."""


def varint(number: int) -> bytes:
    """Return a non-negative number as a varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def i8(number: int) -> ThriftValue:
    """Return a signed byte."""
    return ThriftValue(_I8, number.to_bytes(1, "little", signed=True))


def i32(number: int) -> ThriftValue:
    """Return an integer of 32 bits."""
    return ThriftValue(_I32, _zigzag(number))


def i64(number: int) -> ThriftValue:
    """Return an integer of 64 bits."""
    return ThriftValue(_I64, _zigzag(number))


def binary(data: bytes | str) -> ThriftValue:
    """Return bytes, or a text."""
    raw = data.encode() if isinstance(data, str) else data
    return ThriftValue(_BINARY, varint(len(raw)) + raw)


def listed(values: Sequence[ThriftValue]) -> ThriftValue:
    """Return a list of values of one type; an empty one is of structs."""
    kind, size = values[0].type if values else _STRUCT, len(values)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + varint(size)
    return ThriftValue(_LIST_TYPE, head + b"".join([value.data for value in values]))


def struct(fields: dict[int, ThriftValue | None]) -> ThriftValue:
    """Return a struct of the fields that are not None, by number; numbers must rise by at most 15."""
    out, last = bytearray(), 0
    for number, value in fields.items():
        if value is not None:
            out.append(number - last << 4 | value.type)
            out += value.data
            last = number
    return ThriftValue(_STRUCT, bytes(out) + b"\0")


class GroupSizes(NamedTuple):
    """Limits of a page and of a row group; whichever is reached first."""

    page_rows: int = 5_000
    page_bytes: int = 1 << 20
    group_rows: int = 50_000
    group_bytes: int = 32 << 20


SIZES = GroupSizes()


METADATA = "afterword.export"
"""The key of the footer's metadata whose value is the ExportEnding as JSON."""

MAGIC = b"PAR1"
_REQUIRED, _OPTIONAL, _REPEATED = range(3)
_PLAIN, _RLE = 0, 3
_ZSTD = 6
_BOOLEAN, _INT64, _DOUBLE, _BYTE_ARRAY = 0, 2, 5, 6
_LENGTH = packing.Struct("<I").pack
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class PhysicalType(NamedTuple):
    """The storage of a kind of value: Parquet's types, and functions from texts to values to bytes."""

    type: int
    logical: ThriftValue | None
    converted: int | None
    values: Callable[[Sequence[str]], list[Any]]
    encoded: Callable[[Sequence[Any]], bytes]


def _of_struct(letter: str) -> Callable[[Sequence[Any]], bytes]:
    return lambda values: packing.pack(f"<{len(values)}{letter}", *values)


def _byte_arrays(values: Sequence[bytes]) -> bytes:
    return b"".join([part for value in values for part in (_LENGTH(len(value)), value)])


def _bits(values: Sequence[bool]) -> bytes:
    number = sum(1 << place for place, value in enumerate(values) if value)
    return number.to_bytes((len(values) + 7) // 8, "little")


def _instants(texts: Sequence[str]) -> list[int]:
    return [(datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND for text in texts]


_EMPTY = struct({})
_STRING, _LIST = struct({1: _EMPTY}), struct({3: _EMPTY})
_MICROS_IN_UTC = struct({8: struct({1: TRUE, 2: struct({2: _EMPTY})})})
_UNSIGNED = struct({10: struct({1: i8(64), 2: FALSE})})

_TEXT = PhysicalType(_BYTE_ARRAY, _STRING, 0, lambda texts: [text.encode() for text in texts], _byte_arrays)
_PHYSICAL = {
    TextKind.TEXT: _TEXT,
    TextKind.OBJECT: _TEXT,
    TextKind.TEXTS: _TEXT,
    TextKind.VERSION: PhysicalType(
        _INT64, _UNSIGNED, 14, lambda texts: list(map(int, texts)), _of_struct("Q")
    ),
    TextKind.TIME: PhysicalType(_INT64, _MICROS_IN_UTC, 10, _instants, _of_struct("q")),
    TextKind.NUMBER: PhysicalType(
        _DOUBLE, None, None, lambda texts: list(map(float, texts)), _of_struct("d")
    ),
    TextKind.FLAG: PhysicalType(
        _BOOLEAN, None, None, lambda texts: [text == "true" for text in texts], _bits
    ),
}
_WITH_ENDS = ("request_id", *(one.name for one in COLUMNS if _PHYSICAL[one.kind].type == _INT64))
"""Columns with minimum and maximum statistics in each group, so that readers can skip groups."""


@dataclass
class _Chunk:
    """The pages of a column in the current row group."""

    column: ExportColumn
    pages: list[bytes] = field(default_factory=list)
    values: int = 0
    nulls: int = 0
    size: int = 0
    """Uncompressed size of the pages in bytes."""
    ends: tuple[Any, Any] | None = None
    """The minimum and the maximum."""

    def add(self, texts: Sequence[str]) -> None:
        """Append a page."""
        physical, column = _PHYSICAL[self.column.kind], self.column
        levels = b""
        count = len(texts)
        if column.kind is TextKind.TEXTS:
            lists = [orjson.loads(text) for text in texts]
            texts = list(chain.from_iterable(lists))
            inner = [level for one in lists for level in (0, *[1] * (len(one) - 1))]
            count = len(inner)
            levels = _runs(inner) + _runs([one for each in lists for one in ([1] * len(each) or [0])])
            self.nulls += count - len(texts)
        elif column.name in NULLABLE:
            levels = _runs([text != "" for text in texts])
            texts = [text for text in texts if text]
            self.nulls += count - len(texts)
        values = physical.values(texts)
        if values and column.name in _WITH_ENDS:
            known = (*values, *(self.ends or ()))
            self.ends = min(known), max(known)
        self._page(count, levels + physical.encoded(values))

    def _page(self, count: int, body: bytes) -> None:
        zstd = compressor("zstd")
        compressed = zstd.compress(body) + zstd.flush()
        levels = {3: i32(_RLE), 4: i32(_RLE)}
        head = struct(
            {
                1: i32(0),
                2: i32(len(body)),
                3: i32(len(compressed)),
                5: struct({1: i32(count), 2: i32(_PLAIN), **levels}),
            }
        )
        self.pages += (head.data, compressed)
        self.values += count
        self.size += len(head.data) + len(body)

    def statistics(self) -> ThriftValue:
        """Return the number of NULLs, and minimum and maximum if they are recorded."""
        encoded = _PHYSICAL[self.column.kind].encoded
        least, most = [
            binary(end if isinstance(end, bytes) else encoded([end])) for end in self.ends or ()
        ] or (None, None)
        return struct({3: i64(self.nulls), 5: most, 6: least})


def _runs(levels: Sequence[int]) -> bytes:
    """Return one-bit levels run-length encoded, prefixed by their size."""
    runs = b"".join([varint(sum(1 for _ in run) << 1) + bytes([level]) for level, run in groupby(levels)])
    return _LENGTH(len(runs)) + runs


class ParquetFile:
    """Encodes rows as Parquet."""

    def __init__(self, _options: FileOptions, sizes: GroupSizes = SIZES) -> None:
        self._sizes = sizes
        self._waiting: list[Row] = []
        self._waiting_bytes = 0
        self._chunks = [_Chunk(column) for column in COLUMNS]
        self._group_rows = 0
        self._groups: list[ThriftValue] = []
        self._written = self._rows = 0

    def begin(self) -> bytes:
        """Return the magic bytes."""
        return self._out(MAGIC)

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return the row groups that are full."""
        sizes, pieces = self._sizes, list[bytes]()
        for row in rows:
            self._waiting.append(row)
            self._waiting_bytes += sum(map(len, row))
            if len(self._waiting) >= sizes.page_rows or self._waiting_bytes >= sizes.page_bytes:
                self._end_pages()
                if self._group_rows >= sizes.group_rows or self._group_bytes >= sizes.group_bytes:
                    pieces.append(self._end_group())
        return b"".join(pieces)

    def end(self, ending: ExportEnding) -> bytes:
        """Return the last row group and the footer."""
        self._end_pages()
        piece = self._end_group()
        footer = struct(
            {
                1: i32(2),
                2: listed(_SCHEMA),
                3: i64(self._rows),
                4: listed(self._groups),
                5: listed([struct({1: binary(METADATA), 2: binary(ending.json())})]),
                6: binary("afterword version 1"),
                7: listed([struct({1: _EMPTY}) for _ in COLUMNS]),
            }
        ).data
        return piece + footer + _LENGTH(len(footer)) + MAGIC

    @property
    def _group_bytes(self) -> int:
        return sum(chunk.size for chunk in self._chunks)

    def _end_pages(self) -> None:
        if self._waiting:
            for chunk, texts in zip(self._chunks, zip(*self._waiting, strict=True), strict=True):
                chunk.add(texts)
            self._group_rows += len(self._waiting)
            self._waiting, self._waiting_bytes = [], 0

    def _end_group(self) -> bytes:
        if not self._group_rows:
            return b""
        start, pieces, columns = self._written, list[bytes](), list[ThriftValue]()
        for chunk in self._chunks:
            piece = b"".join(chunk.pages)
            columns.append(struct({2: i64(0), 3: _described(chunk, self._written, len(piece))}))
            pieces.append(self._out(piece))
        self._groups.append(
            struct(
                {
                    1: listed(columns),
                    2: i64(self._group_bytes),
                    3: i64(self._group_rows),
                    4: listed([struct({1: i32(NAMES.index("request_id")), 2: FALSE, 3: FALSE})]),
                    5: i64(start),
                    6: i64(self._written - start),
                }
            )
        )
        self._rows += self._group_rows
        self._group_rows, self._chunks = 0, [_Chunk(column) for column in COLUMNS]
        return b"".join(pieces)

    def _out(self, piece: bytes) -> bytes:
        self._written += len(piece)
        return piece


def _path(column: ExportColumn) -> list[str]:
    return [column.name, "list", "element"] if column.kind is TextKind.TEXTS else [column.name]


def _described(chunk: _Chunk, offset: int, size: int) -> ThriftValue:
    return struct(
        {
            1: i32(_PHYSICAL[chunk.column.kind].type),
            2: listed([i32(_PLAIN), i32(_RLE)]),
            3: listed([binary(name) for name in _path(chunk.column)]),
            4: i32(_ZSTD),
            5: i64(chunk.values),
            6: i64(chunk.size),
            7: i64(size),
            9: i64(offset),
            12: chunk.statistics(),
        }
    )


def _elements(column: ExportColumn) -> list[ThriftValue]:
    physical = _PHYSICAL[column.kind]
    kind = {6: None if physical.converted is None else i32(physical.converted), 10: physical.logical}
    repetition = i32(_OPTIONAL if column.name in NULLABLE else _REQUIRED)
    if column.kind is not TextKind.TEXTS:
        return [struct({1: i32(physical.type), 3: repetition, 4: binary(column.name), **kind})]
    return [
        struct({3: repetition, 4: binary(column.name), 5: i32(1), 6: i32(3), 10: _LIST}),
        struct({3: i32(_REPEATED), 4: binary("list"), 5: i32(1)}),
        struct({1: i32(physical.type), 3: i32(_REQUIRED), 4: binary("element"), **kind}),
    ]


_SCHEMA = [
    struct({3: i32(_REQUIRED), 4: binary("schema"), 5: i32(len(COLUMNS))}),
    *chain.from_iterable(map(_elements, COLUMNS)),
]
