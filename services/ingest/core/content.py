"""What kind of body a request says it carries.  Pure.

Compressed bodies, with the limit on what comes out.  Pure.

The items of a batch, still unread.  Pure.

A batch in runs: events that are judged, stamped and queued together, without a pause.  Pure.

Only as long as nothing is the matter: a run in which anything is goes event by event instead.
"""

import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from schemas.events import Op
from schemas.limits import MAX_BODY_BYTES, MIB
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.validation import REFUSED, decode_items
from services.ingest.dialects.dialect import Submission
from services.ingest.dialects.native import read_event

NDJSON_TYPES = (
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
)


class Kind(Enum):
    """How to read a body."""

    JSON = "json"
    LINES = "lines"


def body_kind(headers: Mapping[bytes, bytes], *, lines: bool, text: bool = False) -> Kind:
    """Return how to read a body, or raise Rejection; without a Content-Type it is JSON.

    `lines` says that the route takes newline-delimited JSON as well; `text`, that plain text is JSON: pages
    that close can send nothing else without being asked first.
    """
    header = headers.get(b"content-type")
    if header is None or header == b"application/json":
        return Kind.JSON
    name = header.partition(b";")[0].strip().lower()
    if name in (b"", b"application/json") or (name.startswith(b"application/") and name.endswith(b"+json")):
        return Kind.JSON
    if text and name == b"text/plain":
        return Kind.JSON
    if lines and name in NDJSON_TYPES:
        return Kind.LINES
    supported = "application/json" + (" and application/x-ndjson are" if lines else " is")
    detail = f"Content-Type {name.decode('latin-1')[:60]!r} is not supported; {supported}"
    raise Rejection(Code.UNSUPPORTED_MEDIA_TYPE, detail)


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


MAX_ITEMS = 100_000
"""Events in one batch."""

ITEM_BYTES = 600
"""What an item takes beside its bytes while its batch is worked on: its parts, its event, its answer."""

MAX_COMMAS = 4 * MIB
"""In a JSON array: each could be an item of two bytes, and an unread item takes 70."""

MAX_BRACKETS = MIB
"""In an array of which an item is no JSON: each is a step of a loop."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
# What ends an item, or is a bracket, behind anything that is neither; commas inside of an item are skipped.
_OUTER_MARK = re.compile(rb'(?:[^"\[\]{},]++|%b)*+([\[\]{},])' % _STRING, re.DOTALL)
_INNER_MARK = re.compile(rb'(?:[^"\[\]{}]++|%b)*+([\[\]{}])' % _STRING, re.DOTALL)
_OPENING = {b"]": b"[", b"}": b"{"}
_BLANKS = b" \t\r\n"


class Item(NamedTuple):
    """One item.  Its place is its index in the array, or its line, from 0, blank lines counted."""

    place: int
    body: bytes


class BrokenArray(Rejection):
    """An array of which not everything is JSON: its items may still be told apart."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Code.MALFORMED_JSON, f"the array cannot be read: {error}")


def is_array(body: bytes) -> bool:
    """Tell whether a JSON body is an array."""
    return (body[:64].lstrip() or body.lstrip())[:1] == b"["


def items_of(kind: Kind, body: bytes) -> list[Item]:
    """Return the items of a batch; raise Rejection when it has too many, BrokenArray for `taken_apart`."""
    if kind is Kind.LINES:
        return _lines(body)
    if body.count(b",") > MAX_COMMAS:
        raise Rejection(Code.TOO_LARGE, "the array holds too many values; send it in parts, or as NDJSON")
    try:
        raws = decode_items(body)
    except REFUSED as error:
        raise BrokenArray(error) from None
    return _bounded([Item(place, bytes(raw)) for place, raw in enumerate(raws)])


def taken_apart(body: bytes, broken: BrokenArray) -> list[Item]:
    """Return the items of an array of which some are no JSON, by nothing but its brackets and strings.

    Each is judged by itself later, which names its fault.  Raises `broken` where the array itself has no end,
    or its brackets do not match.  Takes up to half a second.
    """
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        raise broken
    start = at = body.index(b"[") + 1
    items: list[Item] = []
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
            items.append(Item(len(items), body[start : at - 1].strip(_BLANKS)))
            start = at
            if len(items) > MAX_ITEMS:
                raise _too_many()
            if mark == b"]":
                if body[at:].strip(_BLANKS):
                    break
                return items
    raise broken


def _lines(body: bytes) -> list[Item]:
    if not body:  # what a body looks like that something in front has lost
        raise Rejection(Code.MALFORMED_JSON, "the body is empty: send a line for each event")
    if body.count(b"\n") > 2 * MAX_ITEMS:
        raise _too_many()
    return _bounded([item for item in map(Item._make, enumerate(body.split(b"\n"))) if item.body.strip()])


def _bounded(items: list[Item]) -> list[Item]:
    if len(items) > MAX_ITEMS:
        raise _too_many()
    return items


def _too_many() -> Rejection:
    return Rejection(Code.TOO_LARGE, f"a batch has at most {MAX_ITEMS} events; send it in parts")


def check_size(item: Item) -> None:
    """Raise Rejection for an item that would be too large as a body of its own."""
    if len(item.body) > MAX_BODY_BYTES:
        raise Rejection(Code.TOO_LARGE, f"the event is larger than {MAX_BODY_BYTES} bytes")


RUN_ITEMS = 64
RUN_BYTES = 64 << 10
"""Far less than a turn takes, and less than the largest event."""


def runs(items: list[Item]) -> Iterator[list[Item]]:
    """Yield the items in runs; a large one is a run of its own."""
    run: list[Item] = []
    size = 0
    for item in items:
        size += len(item[1])
        if run and (size > RUN_BYTES or len(run) == RUN_ITEMS):
            yield run
            run, size = [], len(item[1])
        run.append(item)
    if run:
        yield run


def read_run(run: list[Item]) -> list[Submission] | None:
    """Return what a run says, if all of it is to be merged, and None otherwise; raise Rejection.

    A run of one may be too large.
    """
    if len(run) == 1:
        return None
    submissions = [read_event(body) for _, body in run]
    return submissions if all(one.op is Op.MERGE for one in submissions) else None
