"""Frames HTTP/1.1 messages by RFC 9110 and 9112 where uvicorn and its parser deviate.

- A request to upgrade the connection is answered like any other: its body is read, and so is what follows.
- Fields of a trailer, which follows a chunked body, are dropped: only fields of the head are headers.
- A client that ends its side of the connection still gets the answers to what it has sent whole.
- Empty lines between requests keep no connection open.

Each is a deviation of uvicorn's `httptools_impl`; an override can go once uvicorn does the same.
"""

import asyncio
import socket
from asyncio import Transport
from collections import deque

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from services.runtime.http.request_cycle import RequestCycleProtocol

DEPARTURE_SECONDS = 1.0
"""How often a connection whose client sends no more is looked at: its client may be gone for good."""

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
"""A client that only reads skips it; the system of one that is gone answers it with a reset."""


class RequestRefusedError(Exception):
    """The request cannot be accepted.  The parser turns it into an error of its own."""


class FramedProtocol(RequestCycleProtocol):
    """A connection, and which part of which message it is in."""

    _in_head = False
    _in_body = False
    """The head of the latest message is complete, the message is not: a body, or a trailer."""
    _is_deaf = False
    """Nothing more is read: what comes could be the rest of something else."""
    _is_continuing = False
    """The parser reads a head of our own."""
    _borders = 0
    """Borders of heads and messages that were passed: the part that is being read has this number."""
    _departure_timer: asyncio.TimerHandle | None = None
    _has_asked = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._unanswered = deque[RequestResponseCycle]()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, and mark every unanswered request as disconnected.

        uvicorn marks only the latest one.  An earlier one would run to its end, and fail when it answers.
        """
        for one in self._unanswered:
            _disconnect(one)
        if self._departure_timer is not None:
            self._departure_timer.cancel()
        super().connection_lost(exc)

    def _feed(self, data: bytes) -> None:
        """Parse what came; HttpParserError when it is no HTTP, or was refused."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows the head for another protocol, and none is spoken here.
                self._continue_in_body()
                data = data[upgrade.args[0] :]
            else:
                return

    def _continue_in_body(self) -> None:
        """Read on behind the head of a request to upgrade, with a parser that knows only its framing."""
        framing = (b"content-length", b"transfer-encoding")
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] in framing]
        self.parser = httptools.HttpRequestParser(self)
        self._is_continuing = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(fields))
        finally:
            self._is_continuing = False

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        if self._is_continuing:
            return
        self._in_head = True
        self._borders += 1
        self._idle_since = None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, unless it is a trailer's."""
        name = name.lower()
        if self._in_head:
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
        elif name == b"connection":
            # The parser takes it for the head's, and may read nothing more: RFC 9110 (6.5.1) forbids it here.
            raise RequestRefusedError

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        if self._is_continuing:
            return
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        self._borders += 1
        self._unanswered.append(self.cycle)

    def on_message_complete(self) -> None:
        """Note that a request has arrived whole."""
        if self.parser.should_upgrade():  # its head has; the body is still to come
            return
        self._in_body = False
        self._borders += 1
        if self.cycle.response_complete and not self._unanswered:
            self._idle_since = self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next pipelined request, if there is one."""
        if self._unanswered:
            self._unanswered.popleft()
        super().on_response_complete()
        if self._in_head or self._in_body:
            self._idle_since = None

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn lets every connection end
        """Keep the connection for the answers to what came whole; return whether there are any."""
        self._is_deaf = True
        if self._in_body:
            self._drop_broken()
        if not self._unanswered:
            return False
        self._last_answer()
        if self._departure_timer is None:
            self._look_for_departure_later()
        return True

    def _look_for_departure_later(self) -> None:
        self._departure_timer = self.loop.call_later(DEPARTURE_SECONDS, self._look_for_departure)

    def _look_for_departure(self) -> None:
        """End the connection of a client that has not only stopped sending."""
        connection = self.transport.get_extra_info("socket")
        if self.transport.is_closing():
            return
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return
        if not self._has_asked and self._unanswered:
            first = self._unanswered[0]
            if not first.response_started and first.scope["http_version"] != "1.0":
                self.transport.write(INTERIM)
            self._has_asked = True
        self._look_for_departure_later()

    def _drop_broken(self) -> None:
        """Forget the latest request, whose rest will not come: if begun, it hears that its client left."""
        if not self._unanswered or self._unanswered[-1] is not self.cycle:
            return
        broken = self._unanswered.pop()
        if self._unanswered:
            self.pipeline.popleft()
        else:
            _disconnect(broken)

    def _last_answer(self) -> None:
        """Read nothing more, and end the connection once everything read before is answered."""
        self._is_deaf = True
        if self._unanswered:
            self._unanswered[-1].keep_alive = False
        else:
            self.transport.close()


def _disconnect(exchange: RequestResponseCycle) -> None:
    exchange.disconnected = True
    exchange.message_event.set()
