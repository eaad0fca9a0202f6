"""Compressed bodies, with the limit on what comes out.  Pure."""

import sys
import zlib
from typing import Any

from services.ingest.core.errors import Code, Rejection

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = ("gzip", "zstd")
ACCEPTED = ((b"accept-encoding", b"gzip, zstd"),)

MOST_STREAMS = 1000
PIECE_BYTES = 1 << 16
"""Fed at once: the bytes behind a stream's end are copied, so that many small streams would cost a square."""

_GZIP = 16 + zlib.MAX_WBITS
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 24}
"""A frame may ask for a window of gigabytes; 16 MiB is as much as a body can use."""


def encoding_of(header: bytes | None) -> str | None:
    """Return the encoding that a Content-Encoding header names, None for identity; raise Rejection."""
    name = (header or b"").decode("latin-1").strip().lower()
    if name in ("", "identity"):
        return None
    if name == "x-gzip":
        return "gzip"
    if name not in ENCODINGS:
        detail = f"Content-Encoding {name[:40]!r} is not supported; gzip and zstd are"
        raise Rejection(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers=ACCEPTED)
    return name


def decompress(encoding: str, body: bytes, limit: int) -> bytes:
    """Return the plain body, never holding more than `limit` bytes of it; raise Rejection.

    Several gzip members or zstd frames in a row are one body, as their formats have it.
    """
    out, rest = bytearray(), memoryview(body)
    for _ in range(MOST_STREAMS):
        try:
            rest = _append_stream(out, _stream(encoding), rest, limit)
        except (zlib.error, zstd.ZstdError) as error:
            raise Rejection(Code.MALFORMED_JSON, f"the body is not valid {encoding}: {error}") from None
        if not rest:
            return bytes(out)
    raise Rejection(Code.MALFORMED_JSON, f"the body has more than {MOST_STREAMS} {encoding} streams")


def _append_stream(out: bytearray, stream: Any, rest: memoryview, limit: int) -> memoryview:
    """Decompress one stream into `out`, and return what follows it."""
    position = 0
    while not stream.eof:
        piece = rest[position : position + PIECE_BYTES]
        if not piece:
            raise Rejection(Code.MALFORMED_JSON, "the compressed body is cut short")
        position += len(piece)
        out += stream.decompress(piece, limit + 1 - len(out))
        if len(out) > limit:
            raise too_large(limit)
    return rest[position - len(stream.unused_data) :]


def _stream(encoding: str) -> Any:
    if encoding == "gzip":
        return zlib.decompressobj(wbits=_GZIP)
    return zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)


def too_large(limit: int) -> Rejection:
    """Return the rejection of a body over a limit in bytes."""
    return Rejection(Code.TOO_LARGE, f"the body is larger than {limit} bytes")
