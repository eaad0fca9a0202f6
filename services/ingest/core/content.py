"""The content of a body: its media type, its compression, and the items of a batch.

Items stay undecoded.  A batch is worked on in runs: small groups of items that are decoded, stamped and
queued together.  A run with anything but valid merges is worked on event by event instead.
"""

import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from schemas.events import Op
from schemas.limits import MAX_BODY_BYTES, MIB
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.validation import DECODE_ERRORS, decode_items
from services.ingest.dialects.dialect import Submission
from services.ingest.dialects.native import read_event

NDJSON_TYPES = (
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
)


class BodyFormat(Enum):
    """The format of a body."""

    JSON = "json"
    LINES = "lines"


def body_format(headers: Mapping[bytes, bytes], *, lines: bool, text: bool = False) -> BodyFormat:
    """Return the format that Content-Type names, JSON if it is missing; raise Rejection.

    `lines`: the route accepts newline-delimited JSON as well.  `text`: text/plain is read as JSON, because a
    page that closes cannot send another type without a CORS preflight.
    """
    header = headers.get(b"content-type")
    if header is None or header == b"application/json":
        return BodyFormat.JSON
    name = header.partition(b";")[0].strip().lower()
    if name in (b"", b"application/json") or (name.startswith(b"application/") and name.endswith(b"+json")):
        return BodyFormat.JSON
    if text and name == b"text/plain":
        return BodyFormat.JSON
    if lines and name in NDJSON_TYPES:
        return BodyFormat.LINES
    supported = "application/json" + (" and application/x-ndjson are" if lines else " is")
    detail = f"Content-Type {name.decode('latin-1')[:60]!r} is not supported; {supported}"
    raise Rejection(Code.UNSUPPORTED_MEDIA_TYPE, detail)


def media_type_of(headers: Mapping[bytes, bytes], accepted: Sequence[str], *, text: bool = False) -> str:
    """Return the media type of a body, the first accepted one if none is named; raise Rejection.

    A type that ends in `+json`, and with `text` also text/plain, counts as application/json.
    """
    name = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if not name:
        return accepted[0]
    if name.endswith("+json") or (text and name == "text/plain"):
        name = "application/json"
    if name in accepted:
        return name
    detail = f"Content-Type {name[:60]!r} is not supported; this route takes {' and '.join(accepted)}"
    raise Rejection(Code.UNSUPPORTED_MEDIA_TYPE, detail)


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = ("gzip", "zstd")
ACCEPTED = ((b"accept-encoding", b"gzip, zstd"),)

MOST_STREAMS = 1000
PIECE_BYTES = 1 << 16
"""Bytes fed to a decompressor at once.  It copies what follows the end of a stream, so with whole bodies many
small streams would take quadratic time.
"""

_GZIP = 16 + zlib.MAX_WBITS
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 24}
"""A frame may demand a window of gigabytes; a body cannot use more than 16 MiB."""


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
    """Return the decompressed body, which never takes more than `limit` bytes; raise Rejection.

    Consecutive gzip members or zstd frames are one body, as their formats define.
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
    """Decompress one stream into `out`, and return the bytes after it."""
    position = 0
    while not stream.eof:
        piece = rest[position : position + PIECE_BYTES]
        if not piece:
            raise Rejection(Code.MALFORMED_JSON, "the compressed body is truncated")
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


MAX_ITEMS = 100_000
"""Events in one batch."""

ITEM_BYTES = 600
"""Memory of an item in addition to its bytes while its batch is worked on: its values, event and answer."""

MAX_COMMAS = 4 * MIB
"""Commas in a JSON array: each could end an item of two bytes, and an undecoded item takes 70 bytes."""

MAX_BRACKETS = MIB
"""Brackets in an array with invalid items: each takes a step of a loop."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
# The next bracket, or comma between items, after any other text; commas inside an item are skipped.
_OUTER_MARK = re.compile(rb'(?:[^"\[\]{},]++|%b)*+([\[\]{},])' % _STRING, re.DOTALL)
_INNER_MARK = re.compile(rb'(?:[^"\[\]{}]++|%b)*+([\[\]{}])' % _STRING, re.DOTALL)
_OPENING = {b"]": b"[", b"}": b"{"}
_BLANKS = b" \t\r\n"


class BatchItem(NamedTuple):
    """An undecoded item.  `position` is its index in the array, or its line from 0, blank lines included."""

    position: int
    body: bytes


class BrokenArray(Rejection):
    """An array that is not valid JSON as a whole; `split_broken_array` may still separate its items."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Code.MALFORMED_JSON, f"the array is not valid JSON: {error}")


def is_array(body: bytes) -> bool:
    """Return whether a JSON body is an array."""
    return (body[:64].lstrip() or body.lstrip())[:1] == b"["


def items_of(kind: BodyFormat, body: bytes) -> list[BatchItem]:
    """Return the items of a batch; raise Rejection if there are too many, BrokenArray if it is not JSON."""
    if kind is BodyFormat.LINES:
        return _lines(body)
    if body.count(b",") > MAX_COMMAS:
        raise Rejection(Code.TOO_LARGE, "the array holds too many values; send it in parts, or as NDJSON")
    try:
        raws = decode_items(body)
    except DECODE_ERRORS as error:
        raise BrokenArray(error) from None
    return _bounded([BatchItem(position, bytes(raw)) for position, raw in enumerate(raws)])


def split_broken_array(body: bytes, broken: BrokenArray) -> list[BatchItem]:
    """Return the items of an array with invalid items, separated by brackets, commas and strings alone.

    Each item is decoded later, which names its fault.  Raises `broken` if the array does not end or its
    brackets do not match.  Takes up to half a second.
    """
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        raise broken
    start = at = body.index(b"[") + 1
    items: list[BatchItem] = []
    depth: list[bytes] = []
    while found := (_INNER_MARK if depth else _OUTER_MARK).match(body, at):
        mark, at = found[1], found.end()
        if mark in b"[{":
            depth.append(mark)
        elif depth:
            if mark != b"," and depth.pop() != _OPENING[mark]:
                break
        elif mark == b"}":
            break
        else:
            items.append(BatchItem(len(items), body[start : at - 1].strip(_BLANKS)))
            start = at
            if len(items) > MAX_ITEMS:
                raise _too_many()
            if mark == b"]":
                if body[at:].strip(_BLANKS):
                    break
                return items
    raise broken


def _lines(body: bytes) -> list[BatchItem]:
    if not body:  # a proxy that loses a body forwards an empty one
        raise Rejection(Code.MALFORMED_JSON, "the body is empty: send a line for each event")
    if body.count(b"\n") > 2 * MAX_ITEMS:
        raise _too_many()
    return _bounded(
        [item for item in map(BatchItem._make, enumerate(body.split(b"\n"))) if item.body.strip()]
    )


def _bounded(items: list[BatchItem]) -> list[BatchItem]:
    if len(items) > MAX_ITEMS:
        raise _too_many()
    return items


def _too_many() -> Rejection:
    return Rejection(Code.TOO_LARGE, f"a batch has at most {MAX_ITEMS} events; send it in parts")


def check_size(item: BatchItem) -> None:
    """Raise Rejection if an item exceeds the limit for the body of a single event."""
    if len(item.body) > MAX_BODY_BYTES:
        raise Rejection(Code.TOO_LARGE, f"the event is larger than {MAX_BODY_BYTES} bytes")


RUN_ITEMS = 64
RUN_BYTES = 64 << 10
"""Takes far less time than a time slice, and is less than the largest event."""


def runs(items: list[BatchItem]) -> Iterator[list[BatchItem]]:
    """Yield the items in runs; a large item is a run of its own."""
    run: list[BatchItem] = []
    size = 0
    for item in items:
        size += len(item[1])
        if run and (size > RUN_BYTES or len(run) == RUN_ITEMS):
            yield run
            run, size = [], len(item[1])
        run.append(item)
    if run:
        yield run


def read_run(run: list[BatchItem]) -> list[Submission] | None:
    """Return the submissions of a run if all of them are merges, otherwise None; raise Rejection.

    None as well for a run of one item, whose size must be checked first.
    """
    if len(run) == 1:
        return None
    submissions = [read_event(body) for _, body in run]
    return submissions if all(submission.op is Op.MERGE for submission in submissions) else None
