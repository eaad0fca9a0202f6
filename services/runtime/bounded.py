"""HTTP/1.1 with the limits that uvicorn does not have: nobody fills the memory, or stays for ever.

- The head of a request, its line and headers, has so many bytes, and so long to arrive.
- What is left of a body once its request was answered, refused say, is read and thrown away, so that the
  connection can go on; past so many bytes, or so long, the connection ends instead.
- Answers that a client does not take are held for so long, and of all clients so many bytes.
- So many connections are served; a few more are told that there are too many, or answered for a probe.
- Requests are answered in their order, and nothing after one that could be read in two ways is read at all.

Whoever reads a body bounds that itself: here nobody does any more.
"""

from asyncio import Transport
from collections import deque
from http import HTTPStatus
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.runtime.bounds import Bounds, Meter, crowded, too_many
from services.runtime.lean import LeanProtocol

EXTRA_SECONDS = 2.0
"""How long a connection beyond the bound may take to say what it wants."""

LOOKS = 4
"""How often in `send_seconds` it is looked whether a client takes anything of its answer."""


class _RefusedError(Exception):
    """The head cannot be accepted.  The parser turns it into an error of its own."""


class BoundedProtocol(LeanProtocol):
    """A connection.  Timers are for those who take their time: a request in one piece sets none."""

    bounds: ClassVar[Bounds] = Bounds()
    meter: ClassVar[Meter | None] = None
    unread: ClassVar[set["BoundedProtocol"]] = set()
    """Connections whose clients have not taken all of an answer."""

    _in_head = False
    _is_deaf = False
    """Nothing more is read: what comes could be the rest of something else."""
    _is_extra = False
    _late_bytes = 0
    _thrown_away = 0
    _timer = None
    _reader_timer = None
    _unread_bytes = 0
    _refusal = HTTPStatus.BAD_REQUEST, "malformed"

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._unanswered = deque[RequestResponseCycle]()
        if self.meter is not None:
            self.meter.open.inc()
        beyond = len(self.connections) - self.bounds.connections
        self._is_extra = beyond > 0
        if beyond > self.bounds.spare:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "crowded")
        else:
            self._limit(EXTRA_SECONDS if self._is_extra else self.bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, and tell every request of it that was not answered.

        uvicorn tells the last one alone.  The one that is being worked on would go on for nobody, and fail
        when it answers.
        """
        for one in self._unanswered:
            one.disconnected = True
            one.message_event.set()
        self._lift()
        self._forget_reader()
        if self.meter is not None:
            self.meter.open.dec()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and count what a head that is not whole yet has taken since it began."""
        if self._is_deaf:
            return
        began = self._in_head
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
        except httptools.HttpParserUpgrade:
            # No other protocol is spoken here.  What follows could be of one, so it is not read.
            self._last_answer()
        if self._in_head:
            self._go_on_in_head(len(data) if began else 0)

    def _go_on_in_head(self, late_bytes: int) -> None:
        if self._is_deaf or self.transport.is_closing():
            return
        self._late_bytes += late_bytes
        if self._late_bytes > self.bounds.head_bytes or len(self.headers) > self.bounds.head_fields:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large")
        self._limit(self.bounds.head_seconds)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._late_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its head is too large, or has two meanings."""
        self._check_head()
        self._in_head = False
        self._lift()
        if self._is_extra and crowded(self.url):
            self.app = too_many
            self._count("crowded")
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        if self._is_extra:
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        size, hosts = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value)
            hosts += name == b"host"
        if size > self.bounds.head_bytes or len(self.headers) > self.bounds.head_fields:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"
            raise _RefusedError
        if len(self._unanswered) > self.bounds.pipelined:
            self._refusal = HTTPStatus.SERVICE_UNAVAILABLE, "pipelined"
            raise _RefusedError
        if hosts > 1 or not self._has_known_version():
            raise _RefusedError

    def _has_known_version(self) -> bool:
        version = self.parser.get_http_version()
        if version == "1.1":
            return True
        # Chunks are not of HTTP/1.0: whoever stands in front may take the body for another request.
        return version == "1.0" and not any(name == b"transfer-encoding" for name, _ in self.headers)

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of a body, or throw it away when nobody reads it any more."""
        if not self.cycle.response_complete:
            super().on_body(body)
            return
        self._thrown_away += len(body)
        self._limit(self.bounds.rest_seconds)
        if self._thrown_away > self.bounds.rest_bytes:
            self._count("rest")
            self.transport.close()

    def on_message_complete(self) -> None:
        """Note that a request has arrived whole."""
        self._thrown_away = 0
        self._lift()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the request that stands behind, if one does."""
        if self._unanswered:
            self._unanswered.popleft()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Let the application wait: its client takes nothing at the moment, and has so long to do so."""
        super().pause_writing()
        self.unread.add(self)
        self._unread_bytes = self.transport.get_write_buffer_size()
        if self._reader_timer is None:
            self._look_later()
        while sum(one.transport.get_write_buffer_size() for one in self.unread) > self.bounds.unread_bytes:
            most = max(self.unread, key=lambda one: one.transport.get_write_buffer_size())
            most._cut_reader("unread")  # noqa: SLF001 (one of us)

    def resume_writing(self) -> None:
        """Let the application go on."""
        self._forget_reader()
        super().resume_writing()

    def _look_later(self) -> None:
        self._reader_timer = self.loop.call_later(self.bounds.send_seconds / LOOKS, self._look, 1)

    def _look(self, times: int) -> None:
        """Cut a client off that has taken nothing for long enough."""
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
        """End the connection in so many seconds unless this is lifted; a limit that stands is left alone."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._end)

    def _lift(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "head_too_slow")
        else:
            self._count("rest" if self._thrown_away else "head_too_slow")
            self.transport.close()

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer what cannot be a request and end the connection, once what came before is answered."""
        self._count(reason)
        self._lift()
        if self._unanswered and self._unanswered[-1].more_body:
            self._drop_broken()
        if self._unanswered:
            self._last_answer()
            return
        self._is_deaf = True
        last: RequestResponseCycle | None = self.cycle
        if last is None or self._in_head or not last.response_started:
            self._say(status)
        self.transport.close()

    def _drop_broken(self) -> None:
        """Forget a request whose body cannot be read on: it was not begun, or hears that its client left."""
        self._unanswered.pop()
        if self._unanswered:
            self.pipeline.popleft()

    def _last_answer(self) -> None:
        """Read nothing more, and end the connection once everything read before is answered."""
        self._is_deaf = True
        if self._unanswered:
            self._unanswered[-1].keep_alive = False
        else:
            self.transport.close()

    def _say(self, status: HTTPStatus) -> None:
        text = status.phrase.encode()
        head = b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: text/plain" % (status, text)
        again = b"\r\nretry-after: 1" if status is HTTPStatus.SERVICE_UNAVAILABLE else b""
        self.transport.write(b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (head, again, len(text), text))

    def _count(self, reason: str) -> None:
        if self.meter is not None:
            self.meter.cut.labels(reason).inc()


def bounded(bounds: Bounds, meter: Meter | None = None) -> type[BoundedProtocol]:
    """Return the protocol of one server: with its bounds, and what is counted."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds, "meter": meter, "unread": set()})
