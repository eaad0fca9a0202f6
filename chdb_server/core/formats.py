"""ClickHouse's formats: which can be streamed block by block, their headers and content types.

The engine emits each block of a streamed query as a complete document.  Documents of the formats here can be
joined, without the headers of later ones; those of all others (JSON, Parquet, Arrow) cannot, so their results
are sent complete.
"""

import re
from collections.abc import Callable, Sequence

DEFAULT = "TabSeparated"

_MIME = {
    "json": "application/json; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8",
    "tab": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
    "pretty": "text/plain; charset=UTF-8",
    "vertical": "text/plain; charset=UTF-8",
}
_NDJSON = ("eachrow", "jsonlines", "ndjson")

_WITHOUT_HEADER = frozenset(
    {
        *("native", "rowbinary", "msgpack", "csv", "tskv"),
        *("tabseparated", "tsv", "tabseparatedraw", "tsvraw"),
        *("jsoneachrow", "jsonlines", "ndjson", "jsonstringseachrow"),
        *("jsoncompacteachrow", "jsoncompactstringseachrow"),
    }
)


def _lines(count: int) -> Callable[[bytes], int]:
    def header(block: bytes) -> int:
        at = 0
        for _ in range(count):
            at = block.index(b"\n", at) + 1
        return at

    return header


def _csv_lines(count: int) -> Callable[[bytes], int]:
    # A quoted name may hold a newline; a doubled quote inside it changes the parity twice.
    line = re.compile(rb'(?:[^"\n]|"[^"]*")*\n')

    def header(block: bytes) -> int:
        at = 0
        for _ in range(count):
            found = line.match(block, at)
            if found is None:
                raise ValueError("a CSV block without its header")
            at = found.end()
        return at

    return header


def _binary(lists: int) -> Callable[[bytes], int]:
    """Return a function for the length of a column count followed by `lists` lists of that many texts."""

    def header(block: bytes) -> int:
        columns, at = _varint(block, 0)
        for _ in range(columns * lists):
            length, at = _varint(block, at)
            at += length
        return at

    return header


_HEADERS: dict[str, Callable[[bytes], int]] = {
    name + suffix: header(count)
    for header, names in (
        (_lines, ("tabseparated", "tsv", "jsoncompacteachrow", "jsoncompactstringseachrow")),
        (_csv_lines, ("csv",)),
        (_binary, ("rowbinary",)),
    )
    for name in names
    for suffix, count in (("withnames", 1), ("withnamesandtypes", 2))
}


def is_streamable(name: str) -> bool:
    """Return whether blocks of this format can be joined."""
    return name.lower() in _WITHOUT_HEADER or has_header(name)


def has_header(name: str) -> bool:
    """Return whether each block begins with column names, so that a result without rows is not empty."""
    return name.lower() in _HEADERS


def header_length(name: str, block: bytes) -> int:
    """Return the number of bytes before the rows of a block."""
    header = _HEADERS.get(name.lower())
    return header(block) if header else 0


def mime_type(name: str) -> str:
    """Return the Content-Type of a format."""
    lower = name.lower()
    if lower.endswith(_NDJSON) and lower.startswith(("json", "ndjson")):
        return "application/x-ndjson; charset=UTF-8"
    return next(
        (mime for start, mime in _MIME.items() if lower.startswith(start)), "application/octet-stream"
    )


def native_header(columns: Sequence[tuple[str, str]]) -> bytes:
    """Return a Native block without rows, which a server sends for an empty result and the engine omits.

    clickhouse-connect reads the names and types of columns from it.
    """
    texts = [text.encode() for column in columns for text in column]
    return _to_varint(len(columns)) + _to_varint(0) + b"".join(_to_varint(len(text)) + text for text in texts)


def _varint(block: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = block[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _to_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
