"""Inputs that are right, for a fuzzer to begin with, and changes to them.  Pure: a Random in."""

import gzip
import json
from collections.abc import Iterable, Mapping
from random import Random

from services.query.reads.core import listing
from services.query.reads.core.filters import Filters
from services.query.reads.core.listing import ListPosition
from tests.support.clickhouse.content_encodings import PACK
from tests.support.merger.records import an_event

_DATA = {
    "rating": 5,
    "comment": "naïve 👍",
    "tags": ["a", None],
    "deep": {"a": [[{"b": 1e-7}]]},
    "big": 2**63,
}
_LINES = b'{"request_id":"r","data":{"a":1}}\n\n{"request_id":"r","op":"retract"}\n{"request_id":""}\nx\n'
_EVENT = json.dumps(an_event(1, data=_DATA, request={"model": "m"})).encode()


def _cursor(name: str, value: object) -> bytes:
    order = listing.parse_order(name)
    index = bytes([listing.ORDER_NAMES.index(name)])
    return index + listing.encode("acme", Filters(), order, ListPosition(value, "r-1")).encode()


SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "bodies": (
        b"\0" + json.dumps({"data": _DATA}).encode(),
        b"\1" + b'{"message_id":"m","rating":"amazing","comment":"","tags":["a"]}',
        b"\2" + b'{"request_id":"r","op":"merge","data":{"a":null},"request":{"model":"m"}}',
        b"\2" + b'{"request_id":"r","op":"retract"}',
        b"\3" + b'{"model":"gpt-x","latency_ms":812.5,"started_at":"2026-11-22T08:00:00Z"}',
        b"\0" + b'{"data":' + b'{"a":' * 15 + b"1" + b"}" * 15 + b"}",
    ),
    "batches": (b"\0" + b'[{"request_id":"r","data":{"a":1}},{},5]', b"\1" + _LINES),
    "encodings": tuple(
        bytes([index]) + PACK[name](text)
        for index, name in enumerate(("gzip", "zstd"))
        for text in (b"", _LINES, b"a" * 5_000, gzip.compress(_LINES))
    ),
    "paths": (
        b"/feedback/chatcmpl-1",
        b"/k/secret-key/v1/events",
        b"/native/v1/requests/a%2Fb%00",
        b"/v1/feedback/",
        b"application/x-ndjson; charset=utf-8",
        b"gzip",
        b"..",
    ),
    "filters": (
        b"vote=amazing&rating_min=-1e3&rating=5&tag=a&tag=b&has_comment=true",
        b"data.judge=eq:first&request.model=exists:false&data.n=lt:5.5&q=a+b",
        b"from=2026-11-22T08:00:00Z&to=2026-11-23&orphan=false&user_id=%C3%BC&source=native",
    ),
    "cursors": (
        _cursor("-last_received_at", "2026-11-22T08:00:00.000001Z"),
        _cursor("request_id", "r-1"),
        b"\0" + b"500ms",
        b"\0" + b"18446744073709551615",
        b"\0" + b"a%2Fb",
    ),
    "records": (
        b"\ndefault/r1\n" + _EVENT,
        b"4711\ndefault/r1\n" + _EVENT,
        b"\ndefault/r1\n" + json.dumps(an_event(2, op="erase")).encode(),
        b"\n\nx",
    ),
    "sql": (
        b"SELECT 1 FORMAT JSON -- x\n",
        b"INSERT INTO t (a, `b`) SETTINGS x = 1 FORMAT JSONEachRow\0{}",
        b"/* /* */ */ SELECT 'a''b\\'' INTO OUTFILE 'x'",
        b"WITH 1 AS a SELECT a; ",
    ),
}

WORDS = (
    *(
        b'"',
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"true",
        b"1e999",
        b"-0",
    ),
    *(b"9" * 20, b"NaN", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", b"\0", b"\n"),
    *(
        b"%2F",
        b"%",
        b"&",
        b"=",
        b";",
        b"..",
        b"/",
        b"'",
        b"`",
        b"--",
        b"/*",
        b"\x1f\x8b\x08\0",
        b"(\xb5/\xfd",
    ),
)


def changed(random: Random, data: bytes, most: int = 6) -> bytes:
    """Return the bytes with up to so many changes: bits flipped, pieces cut, moved, doubled, words put in."""
    for _ in range(random.randint(0, most)):
        start, end = sorted(random.randint(0, len(data)) for _ in range(2))
        piece = data[start : min(end, start + 64)]
        data = random.choice(
            (
                data[:start] + random.choice(WORDS) + data[start:],
                data[:start] + random.choice(WORDS) + data[end:],
                data[:start] + data[end:],
                data[:start] + piece * random.randint(2, 9) + data[start:],
                data[:start] + bytes([random.randrange(256)]) + data[start + 1 :],
                data[:end],
            )
        )
    return data


def inputs(target: str, random: Random) -> Iterable[bytes]:
    """Yield changed seeds of a target for ever."""
    while True:
        yield changed(random, random.choice(SEEDS[target]))
