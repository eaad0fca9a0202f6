"""HTTP/1.1 with the limits that uvicorn lacks: no client fills the memory or holds a connection for ever.

- The head of a request, its line and headers, is limited in bytes and in time.  So is what is neither head
  nor body: chunk extensions, trailers, empty lines between requests.
- The rest of a body whose request was already answered is read and discarded, so that the connection can be
  reused; past a limit in bytes or time the connection is closed instead.
- Unread responses are limited in time for a connection, and in bytes for all connections together.
- Connections are limited in number; a few more get 503, or the answer to a probe.
- Requests are answered in order, and nothing is parsed after a request that is refused.  What its client
  still sends is discarded until it stops: closing at once would reset the connection, and the client's system
  could drop answers that it has not read (RFC 9112, 9.6).

The size of a body is limited by the application, which reads it.

uvicorn has none of these limits but one on concurrency, so its protocol class is extended; this module can go
once uvicorn limits heads, idle bodies and unread responses by itself.
"""

from asyncio import Transport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, cast

import httptools

from services.runtime.http.framing import FramedProtocol, RequestRefusedError
from services.runtime.http.limits import ConnectionLimits, ConnectionMetrics, crowded, too_many

EXTRA_SECONDS = 2.0
"""How long a connection beyond the bound may take to send its request's head."""

LOOKS = 4
"""How often in `send_seconds` it is looked whether a client takes anything of its answer."""


CHUNK_BYTES = 16
"""What a chunk may take beside its data: its size and two line ends."""

SINGLE = {
    b"authorization": "Authorization",
    b"content-encoding": "Content-Encoding",
    b"content-length": "Content-Length",
    b"content-type": "Content-Type",
    b"helicone-auth": "Helicone-Auth",
    b"host": "Host",
    b"idempotency-key": "Idempotency-Key",
    b"origin": "Origin",
    b"transfer-encoding": "Transfer-Encoding",
    b"x-api-key": "x-api-key",
    b"x-portkey-api-key": "x-portkey-api-key",
}
"""Headers that a request has once: of two, one could count here and the other in front of us."""


class BoundedProtocol(FramedProtocol):
    """A connection.  Timers are for slow clients: a request that arrives in one piece sets none."""

    bounds: ClassVar[ConnectionLimits] = ConnectionLimits()
    meter: ClassVar[ConnectionMetrics | None] = None
    is_draining: ClassVar[bool] = False
    """The server is about to stop: each connection ends with its next answer."""
    unread: ClassVar[set["BoundedProtocol"]] = set()
    """Connections whose clients have not taken all of an answer."""

    _is_extra = False
    _body_bytes = 0
    """Bytes of bodies in what is being parsed, and what each piece of them may take beside."""
    _late_bytes = 0
    """Bytes that were neither a head's first piece nor a body's, since the last border."""
    _thrown_away = 0
    _is_silent = False
    """The client has sent nothing for too long: there is nothing to discard."""
    _is_lingering = False
    """All answers were sent; what comes is discarded until the client ends its side."""
    _timer = None
    _reader_timer = None
    _unread_bytes = 0
    _refusal = HTTPStatus.BAD_REQUEST, "malformed", ""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        if self.meter is not None:
            self.meter.open.inc()
        beyond = len(self.connections) - self.bounds.connections
        self._is_extra = beyond > 0
        if beyond > self.bounds.spare:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "crowded")
        else:
            self._limit(EXTRA_SECONDS if self._is_extra else self.bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._lift()
        self._forget_reader()
        if self.meter is not None:
            self.meter.open.dec()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and count what is neither head nor body, and what a head has taken since it began."""
        if self._is_deaf:
            self._discard(len(data))
            return
        borders, self._body_bytes = self._borders, 0
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
            return
        if self.transport.is_closing():
            return
        if borders != self._borders:
            self._late_bytes = 0
        elif len(data) > self._body_bytes:
            self._late_bytes += len(data) - self._body_bytes
        if self._in_head or self._late_bytes:
            self._check_late()

    def _check_late(self) -> None:
        too_many_fields = self._in_head and len(self.headers) > self.bounds.head_fields
        if self._late_bytes > self.bounds.head_bytes or too_many_fields:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")
        elif self._in_head or (self._in_body and not self._body_bytes):
            self._limit(self.bounds.head_seconds)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its head is too large, or has two meanings."""
        if self._in_head:
            self._check_head()
            self._lift()
            if self._is_extra and crowded(self.url):
                self.app = too_many
                self._count("crowded")
        super().on_headers_complete()
        if self._is_extra or self.is_draining:
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        size, names = len(self.url), set[bytes]()
        for name, value in self.headers:
            size += len(name) + len(value)
            names.add(name)
        if size > self.bounds.head_bytes or len(self.headers) > self.bounds.head_fields:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", ""
            raise RequestRefusedError
        if len(self._unanswered) > self.bounds.pipelined:
            self._refusal = HTTPStatus.SERVICE_UNAVAILABLE, "pipelined", ""
            raise RequestRefusedError
        if detail := self._ambiguity(names):
            self._refusal = HTTPStatus.BAD_REQUEST, "malformed", detail
            raise RequestRefusedError

    def _ambiguity(self, names: set[bytes]) -> str:
        """Return why a request could be read in two ways; empty when it could not."""
        if len(names) < len(self.headers):
            found = [name for name, _ in self.headers]
            for name, shown in SINGLE.items():
                if found.count(name) > 1:
                    return f"the header {shown} was sent more than once: send it once"
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return "only versions 1.1 and 1.0 of HTTP are understood"
        if b"transfer-encoding" in names:
            if version == "1.0":
                # A proxy in front may take the body for another request.
                return "version 1.0 of HTTP has no Transfer-Encoding: send a Content-Length"
            if dict(self.headers)[b"transfer-encoding"].strip().lower() != b"chunked":
                return "the only Transfer-Encoding that is supported is `chunked`"
        if self.parser.should_upgrade() and self.parser.get_method() == b"CONNECT":
            return "this is no proxy: CONNECT is not supported"
        return ""

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of a body, or discard it once the request was answered."""
        self._body_bytes += len(body) + CHUNK_BYTES
        if not self.cycle.response_complete:
            self._lift()
            super().on_body(body)
            return
        self._discard(len(body))

    def _discard(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > self.bounds.rest_bytes and not self.transport.is_closing():
            self._count("rest")
            self.transport.close()

    def on_message_complete(self) -> None:
        """Note that a request has arrived whole."""
        super().on_message_complete()
        if not self._in_body:
            self._thrown_away = 0
            self._lift()

    def on_response_complete(self) -> None:
        """Start the next pipelined request; the rest of this body is limited in time."""
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._limit(self.bounds.rest_seconds)

    def pause_writing(self) -> None:
        """Pause the application: the client reads nothing, which is limited in time."""
        super().pause_writing()
        self.unread.add(self)
        self._unread_bytes = self.transport.get_write_buffer_size()
        if self._reader_timer is None:
            self._look_later()
        while sum(one.transport.get_write_buffer_size() for one in self.unread) > self.bounds.unread_bytes:
            most = max(self.unread, key=lambda one: one.transport.get_write_buffer_size())
            most._cut_reader("unread")  # noqa: SLF001 (one of us)

    def resume_writing(self) -> None:
        """Resume the application."""
        self._forget_reader()
        super().resume_writing()

    def _look_later(self) -> None:
        self._reader_timer = self.loop.call_later(self.bounds.send_seconds / LOOKS, self._look, 1)

    def _look(self, times: int) -> None:
        """Abort the connection of a client that has read nothing for `send_seconds`."""
        left = self.transport.get_write_buffer_size()
        if left < self._unread_bytes:
            times, self._unread_bytes = 0, left
        if times >= LOOKS:
            self._cut_reader("slow_reader")
        else:
            self._reader_timer = self.loop.call_later(self.bounds.send_seconds / LOOKS, self._look, times + 1)

    def _cut_reader(self, reason: str) -> None:
        self._forget_reader()
        self._count(reason)
        self.transport.abort()

    def _forget_reader(self) -> None:
        self.unread.discard(self)
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _limit(self, seconds: float) -> None:
        """Close the connection in `seconds` unless lifted; a timer that already runs is kept."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._end)

    def _lift(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self._is_lingering:
            self.transport.close()
        elif self._in_head or (self._in_body and not self.cycle.response_complete):
            self._is_silent = True
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "head_too_slow")
        else:
            self._count("rest" if self._in_body else "head_too_slow")
            self.transport.close()

    def _refuse(self, status: HTTPStatus, reason: str, detail: str = "") -> None:
        """Answer an invalid request and close the connection, once earlier requests are answered."""
        self._count(reason)
        self._lift()
        if self._in_body:
            self._drop_broken()
        self._thrown_away = 0
        if self._unanswered:
            lingering = LingeringTransport(self.transport, self._linger)
            self._unanswered[-1].transport = cast("Transport", lingering)
            self._last_answer()
            return
        self._is_deaf = True
        if self._in_head or not getattr(self.cycle, "response_started", False):
            self._respond_early(status, detail)
        self._linger()

    def _linger(self) -> None:
        """End our side, and close once the client ends its own, within the limits of a body's rest."""
        if self._is_extra or self._is_silent or self.is_draining or self.transport.is_closing():
            self.transport.close()
            return
        self._is_lingering = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._limit(self.bounds.rest_seconds)

    def _respond_early(self, status: HTTPStatus, detail: str) -> None:
        text, phrase = (detail or status.phrase).encode(), status.phrase.encode()
        head = b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: text/plain" % (status, phrase)
        again = b"\r\nretry-after: 1" if status is HTTPStatus.SERVICE_UNAVAILABLE else b""
        self.transport.write(b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (head, again, len(text), text))

    def _count(self, reason: str) -> None:
        if self.meter is not None:
            self.meter.cut.labels(reason).inc()


class LingeringTransport:
    """The transport of a last answer: its `close` ends our side alone.  All else is passed on."""

    def __init__(self, transport: Transport, linger: Callable[[], None]) -> None:
        self._transport, self.close = transport, linger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def bounded(bounds: ConnectionLimits, meter: ConnectionMetrics | None = None) -> type[BoundedProtocol]:
    """Return the protocol of one server: with its bounds, and what is counted."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds, "meter": meter, "unread": set()})
