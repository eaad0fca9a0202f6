"""HTTP/1.1 with the limits that uvicorn does not have: nobody fills the memory, or stays for ever.

- The head of a request, its line and headers, has so many bytes, and so long to arrive.
- What is left of a body once its request was answered, refused say, is read and thrown away, so that the
  connection can go on; past so many bytes, or so long, the connection ends instead.

Whoever reads a body bounds that itself: here nobody does any more.
"""

from asyncio import Transport
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


@dataclass(frozen=True)
class Bounds:
    """How much, in bytes, and how long, in seconds."""

    head_bytes: int = 64 << 10
    head_seconds: float = 30.0
    rest_bytes: int = 32 << 20
    rest_seconds: float = 30.0


class _TooLargeError(Exception):
    """The head is larger than it may be.  The parser turns it into an error of its own."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection.  Timers are for those who take their time: a request in one piece sets none."""

    bounds: ClassVar[Bounds] = Bounds()

    _in_head = False
    _late_bytes = 0
    _thrown_away = 0
    _timer = None
    _refusal = HTTPStatus.BAD_REQUEST

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._limit(self.bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._lift()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and count what a head that is not whole yet has taken since it began."""
        began = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if began:
            self._late_bytes += len(data)
            if self._late_bytes > self.bounds.head_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._limit(self.bounds.head_seconds)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head, self._late_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its head is too large."""
        self._in_head = False
        self._lift()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.bounds.head_bytes:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _TooLargeError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of a body, or throw it away when nobody reads it any more."""
        if not self.cycle.response_complete:
            super().on_body(body)
            return
        self._thrown_away += len(body)
        self._limit(self.bounds.rest_seconds)
        if self._thrown_away > self.bounds.rest_bytes:
            self.transport.close()

    def on_message_complete(self) -> None:
        """Note that a request has arrived whole."""
        self._thrown_away = 0
        self._lift()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and end the connection."""
        if self._refusal is HTTPStatus.BAD_REQUEST:
            super().send_400_response(msg)
        else:
            self._refuse(self._refusal)

    def _limit(self, seconds: float) -> None:
        """End the connection in so many seconds unless this is lifted; a limit that stands is left alone."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._end)

    def _lift(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer and end the connection, unless an answer is on its way to the request before."""
        before: RequestResponseCycle | None = self.cycle
        if before is None or before.response_complete:
            text = status.phrase.encode()
            head = b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: text/plain" % (status, text)
            self.transport.write(b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(text), text))
        self.transport.close()


def bounded(bounds: Bounds) -> type[BoundedProtocol]:
    """Return the protocol with other bounds."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds})
