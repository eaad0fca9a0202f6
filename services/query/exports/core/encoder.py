"""The interface of a file format, and the content encodings of an export."""

import re
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import orjson

from services.query.exports.core.rows import Row


@dataclass(frozen=True)
class ExportEnding:
    """How an export ended; the trailer of its file."""

    rows: int
    next_cursor: str | None
    """The cursor of the remaining rows; None if there are none."""
    complete: bool
    """Whether the file has every row after the cursor that existed when the export began."""

    def json(self) -> str:
        """Return it as JSON text."""
        return orjson.dumps(asdict(self)).decode()


@dataclass(frozen=True)
class FileOptions:
    """Options of a file."""

    trailer: bool = False
    """CSV, NDJSON: the last line has the number of rows, and whether these are all."""
    bom: bool = False
    """CSV: begin with a byte order mark, without which Excel does not detect UTF-8."""


class FileEncoder(Protocol):
    """Encodes rows as the bytes of a file, in order, with bounded memory."""

    def begin(self) -> bytes:
        """Return the bytes before the first row."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Encode some rows, and return the bytes that are ready."""

    def end(self, ending: ExportEnding) -> bytes:
        """Return the rest."""


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP = 16 + zlib.MAX_WBITS
_REFUSED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*$")


class Compressor(Protocol):
    """Compresses a stream piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Return the bytes that are ready."""

    def flush(self) -> bytes:
        """Return the rest, and end the stream."""


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "zstd": lambda: zstd.ZstdCompressor(level=1),
    "gzip": lambda: zlib.compressobj(level=1, wbits=_GZIP),
}
"""In order of preference, at the cheapest level, because exports are long."""


def choose_encoding(accept_encoding: str) -> str | None:
    """Return the encoding for an Accept-Encoding header, or None for no encoding."""
    accepted = {
        item.partition(";")[0].strip().lower()
        for item in accept_encoding.split(",")
        if not _REFUSED.search(item)
    }
    return next((name for name in _COMPRESSORS if name in accepted), None)


def compressor(name: str) -> Compressor:
    """Return a new compressor for a name that `choose_encoding` returned."""
    return _COMPRESSORS[name]()
