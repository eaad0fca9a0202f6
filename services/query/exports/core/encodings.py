"""Content encodings of an export, chosen as the reader accepts them.  Pure."""

import re
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP = 16 + zlib.MAX_WBITS
_REFUSED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*$")


class Compressor(Protocol):
    """Compresses a stream piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what is ready."""

    def flush(self) -> bytes:
        """Return the rest, and end the stream."""


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "zstd": lambda: zstd.ZstdCompressor(level=1),
    "gzip": lambda: zlib.compressobj(level=1, wbits=_GZIP),
}
"""In the order of preference, and at the level that costs least: exports are long."""


def choose(accept_encoding: str) -> str | None:
    """Return the encoding for an Accept-Encoding header; None leaves the bytes as they are."""
    accepted = {
        item.partition(";")[0].strip().lower()
        for item in accept_encoding.split(",")
        if not _REFUSED.search(item)
    }
    return next((name for name in _COMPRESSORS if name in accepted), None)


def compressor(name: str) -> Compressor:
    """Return a new compressor for a name that `choose` returned."""
    return _COMPRESSORS[name]()
