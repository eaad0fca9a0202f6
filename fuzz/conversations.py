"""What a client may send on one connection: requests that are right, and all that can be wrong with them.

Strategies of Hypothesis, pure.  A conversation is bytes in pieces, as they are written to the socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hypothesis import strategies as st

from fuzz.seeds import SEEDS, WORDS, changed
from tests.support.clickhouse.content_encodings import PACK
from tests.support.ingest import bodies

SHOWN_BYTES = 300
"""What the report of a failure shows of each piece."""


@dataclass(frozen=True, repr=False)
class Conversation:
    """The pieces of one connection, and whether the client half-closes at once."""

    pieces: tuple[bytes, ...]
    ends: bool

    def __repr__(self) -> str:
        """Shorten the pieces: a report of a megabyte shows nothing."""
        shown = [(piece[:SHOWN_BYTES], len(piece)) for piece in self.pieces]
        return f"{type(self).__name__}({shown}, ends={self.ends})"


INGEST = (
    (b"POST", b"/feedback/fuzz-1"),
    (b"POST", b"/requesty/feedback/fuzz-1"),
    (b"DELETE", b"/feedback/fuzz-1"),
    (b"POST", b"/v1/feedback/"),
    (b"POST", b"/v1/events"),
    (b"PUT", b"/v1/requests/fuzz-1"),
    (b"OPTIONS", b"/v1/events"),
    (b"POST", b"/k/aft_key/v1/events"),
    (b"GET", b"/livez"),
    (b"GET", b"/openapi.json"),
)
QUERY = (
    (b"GET", b"/v1/feedback/fuzz-1"),
    (b"GET", b"/v1/feedback?limit=2&vote=amazing"),
    (b"GET", b"/v1/feedback/export?format=csv&from=2026-11-22T08:00:00Z"),
    (b"GET", b"/v1/feedback/fuzz-1/events"),
    (b"GET", b"/v1/stats?interval=day"),
    (b"GET", b"/v1/dead-letters"),
    (b"GET", b"/log?rating_min=1"),
    (b"GET", b"/insights"),
    (b"POST", b"/sign-in"),
    (b"HEAD", b"/v1/feedback"),
)
ROUTES: Mapping[str, tuple[tuple[bytes, bytes], ...]] = {"ingest": INGEST, "query": QUERY}

_TYPES = (
    *[b"application/json"] * 6,
    *[b"application/x-ndjson"] * 3,
    b"application/json; charset=\xff",
    b"text/plain",
    b"",
)
_ODD = (
    b"Idempotency-Key: fuzz",
    b"Idempotency-Key: " + b"k" * 300,
    b"Authorization: Bearer \xff\x00",
    b"x-api-key: nobody",
    b"X: " + b"a" * 70_000,
    b"Host: example.com",
    b"Origin: http://example.com",
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Connection: close",
    b"Cookie: session=" + b"=;" * 50,
    b"Range: bytes=0-",
    b" folded: x\r\n y",
    b"no colon",
    b": no name",
    b"na\x00me: x",
    b"Accept-Encoding: gzip, zstd;q=9",
    *(b"X-%d: 1" % number for number in range(3)),
)
_LENGTHS = (b"0", b"1", b"-1", b"+5", b"5, 5", b"0x10", b"9" * 30, b"", b"999999", b" 7")


def _native() -> st.SearchStrategy[bytes]:
    return st.one_of(
        bodies.bodies,
        bodies.spoiled,
        bodies.data.map(lambda text: b'{"request_id":"fuzz-2","data":%b}' % text.encode()),
        st.lists(bodies.data, max_size=5).map(_lines),
        st.lists(bodies.data, max_size=5).map(lambda items: b"[" + b",".join(_items(items)) + b"]"),
        st.sampled_from([seed[1:] for name in ("bodies", "batches") for seed in SEEDS[name]]),
        st.just(b""),
        st.integers(0, 200_000).map(lambda size: b'{"data":{"a":"' + b"a" * size + b'"}}'),
    )


def _items(items: list[str]) -> list[bytes]:
    return [b'{"request_id":"fuzz-3","data":%b}' % item.encode() for item in items]


def _lines(items: list[str]) -> bytes:
    return b"\n".join(_items(items))


@st.composite
def _packed(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Draw a body, perhaps compressed and then cut or changed, with its header."""
    body = draw(_native())
    encoding = draw(st.sampled_from(["", "", "", "gzip", "zstd", "deflate", "br"]))
    if not encoding:
        return body, []
    body = PACK.get(encoding, bytes)(body)
    if draw(st.booleans()):
        body = changed(Random(draw(st.integers(0, 2**32))), body, 3)
    return body, [b"Content-Encoding: " + encoding.encode()]


@st.composite
def _framed(draw: st.DrawFn, body: bytes) -> tuple[list[bytes], bytes]:
    """Draw how a body's length is declared, rightly or not."""
    kind = draw(st.integers(0, 15)) - 6
    if kind < 6:
        return [b"Content-Length: %d" % len(body)], body
    if kind == 6:
        return [b"Content-Length: " + draw(st.sampled_from(_LENGTHS))], body
    chunks = _chunked(body, draw(st.lists(st.integers(1, 5_000), max_size=4)))
    if kind == 7:
        return [b"Transfer-Encoding: chunked"], chunks
    if kind == 8:
        broken = changed(Random(draw(st.integers(0, 2**32))), chunks, 3)
        return [b"Transfer-Encoding: chunked"], broken
    return [b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(body)], chunks


def _chunked(body: bytes, sizes: list[int]) -> bytes:
    parts, rest = [], body
    for size in sizes:
        parts.append(rest[:size])
        rest = rest[size:]
    parts.append(rest)
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn, service: str) -> bytes:
    """Draw one request."""
    method, path = draw(st.sampled_from(ROUTES[service]))
    if draw(st.integers(0, 3)) == 0:
        random = Random(draw(st.integers(0, 2**32)))
        path = path + random.choice((b"?", b"%", b"/", b"")) + random.choice(WORDS)
        path = changed(random, path, 2).replace(b" ", b"%20").replace(b"\n", b"%0A") or b"/"
    body, headers = draw(_packed())
    framing, sent = draw(_framed(body))
    odd = draw(st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(_ODD), max_size=2)))
    kind = b"Content-Type: " + draw(st.sampled_from(_TYPES))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9"]))
    lines = [b"%b %b %b" % (method, path, version), b"Host: 127.0.0.1", kind, *headers, *framing, *odd]
    return b"\r\n".join(lines) + b"\r\n\r\n" + sent


@st.composite
def conversations(draw: st.DrawFn, service: str) -> Conversation:
    """Draw one to four requests in a row, perhaps changed byte by byte, split at random places."""
    whole = b"".join(draw(st.lists(requests(service), min_size=1, max_size=4)))
    if draw(st.integers(0, 2)) == 0:
        whole = changed(Random(draw(st.integers(0, 2**32))), whole, 4)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    edges = [0, *cuts, len(whole)]
    pieces = tuple(whole[start:end] for start, end in pairwise(edges) if start < end)
    return Conversation(pieces, draw(st.booleans()))
