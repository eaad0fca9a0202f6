"""What a client may send between and beside requests: upgrades, trailers, chunk extensions, empty lines.

Strategies of Hypothesis, pure.  Other than those of `conversations`, these are known to be right, or to be
wrong from a known byte on, so which answers must come is known too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise

from hypothesis import strategies as st

from fuzz.answers import Answer
from fuzz.conversations import Conversation

_HUGE = 700_000
"""More than a head may have, and the buffers of a connection hold."""

_UPGRADES = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.3, h2c\r\n",
    b"Upgrade: h2c\r\n",
)
_TRAILERS = (
    b"",
    b"x-checksum: 1\r\n",
    b"Authorization: Bearer other\r\nHost: elsewhere\r\nExpect: 100-continue\r\n",
    b"Upgrade: h2c\r\nIdempotency-Key: other\r\nContent-Type: text/plain\r\n",
    b"x: %b\r\n" % (b"v" * 3000),
)
_EXTENSIONS = (b"", b"", b";a", b";a=b", b';name="quoted value"', b";x=%b" % (b"y" * 300))
_TARGETS = {
    "ingest": (b"POST /feedback/", b"POST /requesty/feedback/"),
    "query": (b"GET /v1/feedback/", b"GET /v1/feedback?order="),
}
_CHUNKED = b"POST /feedback/broken HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
_EMPTY = b"Host: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
_BROKEN = (
    _CHUNKED + b"\r\n0\r\nx-endless: " + b"v" * _HUGE,
    _CHUNKED + b"\r\n0\r\n" + b"x-many: v\r\n" * (_HUGE // 11),
    _CHUNKED + b"\r\n2;x=" + b"v" * _HUGE,
    _CHUNKED + b"\r\n" + b"1;x=%b\r\n{\r\n" % (b"v" * 3000) * (_HUGE // 3000),
    _CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\nhello",
    _CHUNKED + b"\r\n0\r\nConnection: close\r\n\r\n",
    _CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    _CHUNKED.replace(b"chunked", b"gzip, chunked") + b"\r\n0\r\n\r\n",
    _CHUNKED + b"Content-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    _CHUNKED + b"\r\n2\r\n{}",
    _CHUNKED + b"\r\n2\r\n{}\r\n0\r\nx: ",
    b"\r\n" * (_HUGE // 2),
    b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n" + _EMPTY,
    b"POST /feedback/broken HTTP/1.1\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n" + _EMPTY,
    b"POST /feedback/broken HTTP/1.1\r\nIdempotency-Key: a\r\nidempotency-key: b\r\n" + _EMPTY,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@dataclass(frozen=True, repr=False)
class Exchanges(Conversation):
    """A conversation whose requests of these ids are right; `is_broken`: what follows them is not."""

    ids: tuple[str, ...]
    is_broken: bool

    def complaint(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the answers, None when they are those that had to come."""
        found = [_id_of(answer) for answer in answers]
        right = all(one in (id_, ROW) for one, id_ in zip(found, self.ids, strict=False))
        if right and 0 <= len(found) - len(self.ids) <= self.is_broken:
            return None
        return f"answers for {found}, not for {self.ids} (broken behind them: {self.is_broken})"


ROW = "some row"
"""What an answer of query that names no request is for."""
_ID = re.compile(rb"fuzz-\d+")


def _id_of(answer: Answer) -> str:
    """Return the id that an answer names."""
    named = _ID.search(answer.body)
    if named is not None:
        return named[0].decode()
    return ROW if answer.status == HTTPStatus.NOT_FOUND else ""


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    parts, rest = [], body
    for size in draw(st.lists(st.integers(1, 40), max_size=4)):
        parts.append(rest[:size])
        rest = rest[size:]
    lines = [
        b"%x%b\r\n%b\r\n" % (len(part), draw(st.sampled_from(_EXTENSIONS)), part)
        for part in [*parts, rest]
        if part
    ]
    last = b"0%b\r\n%b\r\n" % (draw(st.sampled_from(_EXTENSIONS)), draw(st.sampled_from(_TRAILERS)))
    return b"".join(lines) + last


@st.composite
def _right(draw: st.DrawFn, service: str, request_id: str) -> bytes:
    """Draw one request that must be answered."""
    size = draw(st.sampled_from([0, 1, 100, 20_000]))
    body = b'{"data":{"a":"%b"}}' % (b"a" * size)
    target = draw(st.sampled_from(_TARGETS[service]))
    if service == "query" and draw(st.booleans()):
        body = b""
    framing, sent = b"Content-Length: %d\r\n" % len(body), body
    if draw(st.booleans()):
        framing, sent = b"Transfer-Encoding: chunked\r\n", draw(_chunked(body))
    upgrade = draw(st.one_of(st.just(b""), st.sampled_from(_UPGRADES)))
    blank = draw(st.sampled_from([b"", b"", b"\r\n", b"\r\n\r\n"]))
    kind = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head = b"%b%b HTTP/1.1\r\n%b%b%b\r\n" % (target, request_id.encode(), kind, upgrade, framing)
    return head + sent + blank


@st.composite
def exchanges(draw: st.DrawFn, service: str) -> Exchanges:
    """Draw up to six requests in a row, perhaps something broken behind them, split at random places."""
    ids = tuple(f"fuzz-{number}" for number in range(draw(st.integers(0, 6))))
    parts = [draw(_right(service, request_id)) for request_id in ids]
    is_broken = draw(st.booleans())
    if is_broken:
        parts.append(draw(st.sampled_from(_BROKEN)))
    whole = b"".join(parts)
    cuts = sorted(draw(st.lists(st.integers(0, min(len(whole), 60_000)), max_size=12)))
    edges = [0, *cuts, len(whole)]
    pieces = tuple(whole[start:end] for start, end in pairwise(edges) if start < end)
    return Exchanges(pieces, draw(st.booleans()), ids, is_broken)
