"""Content encodings in both directions, with a limit on the decoded size."""

import bz2
import lzma
import re
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame

from chdb_server.core.errors import ClickHouseCode, QueryRefusedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_STEP = 2**20


class TooLargeError(QueryRefusedError):
    """A body that is larger than the limit, as sent or once decoded."""

    def __init__(self, limit: int) -> None:
        super().__init__(ClickHouseCode.QUERY_IS_TOO_LARGE, f"Request body is larger than {limit} bytes.")


class _Decompressor(Protocol):
    """The interface that bz2, lzma, lz4 and zstd share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Zlib:
    """zlib's decompressor with the interface of the others."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self._rest = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._rest

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        out = self._inner.decompress(self._rest + data, max_length)
        self._rest = self._inner.unconsumed_tail
        return out


class _Lz4:
    """lz4's decompressor takes max_length by name only."""

    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._inner.needs_input)

    @property
    def unused_data(self) -> bytes | None:
        rest: bytes | None = self._inner.unused_data
        return rest

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        out: bytes = self._inner.decompress(data, max_length=max_length)
        return out


_DECODERS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: _Zlib(31),
    "x-gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "zstd": zstd.ZstdDecompressor,
    "lz4": _Lz4,
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
_DAMAGED = (zlib.error, zstd.ZstdError, lzma.LZMAError, RuntimeError, OSError, EOFError, ValueError)


def decode(encoding: str, body: bytes, limit: int) -> bytes:
    """Return the decoded body.

    Consecutive frames are joined: clickhouse-connect compresses each block separately.
    QueryRefusedError for an unknown encoding, a damaged or truncated body, and more than `limit` bytes.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _DECODERS:
        known = ", ".join(sorted(_DECODERS))
        raise QueryRefusedError(
            ClickHouseCode.NOT_IMPLEMENTED, f"Unknown Content-Encoding {encoding!r}; known are {known}."
        )
    parts: list[bytes] = []
    room = limit
    while body:
        body, room = _frame(name, body, parts, room, limit)
    return b"".join(parts)


def _frame(name: str, body: bytes, parts: list[bytes], room: int, limit: int) -> tuple[bytes, int]:
    """Append one decoded frame to `parts`; return the rest of the body, and the remaining limit."""
    frame = _DECODERS[name]()
    feed = body
    while not frame.eof:
        try:
            # One byte past the limit distinguishes "full" from "too large".
            part = frame.decompress(feed, min(_STEP, room + 1))
        except _DAMAGED as error:
            raise QueryRefusedError(
                ClickHouseCode.INCORRECT_DATA, f"The {name} body is damaged: {error}."
            ) from error
        feed = b""
        room -= len(part)
        if room < 0:
            raise TooLargeError(limit)
        parts.append(part)
        if not part and frame.needs_input and not frame.eof:
            raise QueryRefusedError(ClickHouseCode.INCORRECT_DATA, f"The {name} body is cut short.")
    return frame.unused_data or b"", room


class ContentEncoder(Protocol):
    """Compresses a reply piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Return the bytes that can be sent so far."""

    def flush(self) -> bytes:
        """Return the rest, and end the frame."""


class _Lz4Encoder:
    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head: bytes = b"" if self._begun else self._inner.begin()
        self._begun = True
        body: bytes = self._inner.compress(data)
        return head + body

    def flush(self) -> bytes:
        head = self.compress(b"")
        rest: bytes = self._inner.flush()
        return head + rest


# In the order of preference.
_ENCODERS: dict[str, Callable[[], ContentEncoder]] = {
    "lz4": _Lz4Encoder,
    "zstd": lambda: zstd.ZstdCompressor(level=1),
    "gzip": lambda: zlib.compressobj(level=3, wbits=31),
    "deflate": lambda: zlib.compressobj(level=3),
}


def choose(accept_encoding: str) -> str | None:
    """Return the preferred encoding of those that an `Accept-Encoding` header accepts; None: none."""
    refused = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*$")
    accepted = {
        item.partition(";")[0].strip().lower()
        for item in accept_encoding.split(",")
        if not refused.search(item)
    }
    return next((name for name in _ENCODERS if name in accepted), None)


def encoder(name: str) -> ContentEncoder:
    """Return a new encoder for a name returned by `choose`."""
    return _ENCODERS[name]()
