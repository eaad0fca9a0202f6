"""The cycle of a request and its response, cheaper than uvicorn's.

uvicorn sets a timer for each pause of a connection, and sends a response in two writes.  Here one timer
checks now and then, and applications can read and answer a whole request in one call.  The methods repeat
those of uvicorn's `httptools_impl`, whose private names a contract test pins; they can go when uvicorn is as
cheap.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

EXCHANGE = "afterword.exchange"
"""The extension, in the scope of a request, that is its `Exchange`."""

Header = tuple[bytes, bytes]


class Exchange(RequestResponseCycle):
    """A request cycle that can also be read and answered in one call each.

    A response that keeps the connection open carries `Keep-Alive: timeout`: a client that waits longer
    between two requests opens a new one, instead of sending into a connection that is being closed.
    """

    idle_seconds = 0

    def arrived(self) -> bytes | None:
        """Return the body if all of it has arrived and no message was read yet; else None."""
        if self.more_body or self.disconnected or self.waiting_for_100_continue or self.response_complete:
            return None
        body, self.body = bytes(self.body), bytearray()
        return body

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Answer all at once, as the two messages of ASGI would; `content-length` is added."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        lines = [STATUS_LINE[status], *map(line, self.default_headers), *map(line, headers)]
        lines.append(staying(self.idle_seconds) if self.keep_alive else b"connection: close\r\n")
        if status != 204:
            lines.append(b"content-length: %d\r\n" % len(body))
        lines.append(b"\r\n")
        if self.scope["method"] != "HEAD":
            lines.append(body)
        self.response_started = self.response_complete = True
        self.transport.write(b"".join(lines))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def send(self, message: Any) -> None:
        """Send a message of ASGI."""
        if message["type"] == "http.response.start" and self.keep_alive:
            headers = [*message.get("headers", ())]
            if all(name.lower() != b"connection" for name, _ in headers):
                staying_open = b"timeout=%d" % self.idle_seconds
                headers += ((b"connection", b"keep-alive"), (b"keep-alive", staying_open))
                message = {**message, "headers": headers}
        await super().send(message)


@lru_cache
def staying(idle_seconds: int) -> bytes:
    """Return the headers of an answer after which the connection stays open."""
    return b"connection: keep-alive\r\nkeep-alive: timeout=%d\r\n" % idle_seconds


@lru_cache(1024)
def line(header: Header) -> bytes:
    """Return a header as it is sent; ValueError for what would be more than one."""
    name, value = header
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise ValueError("no header")
    return b"%b: %b\r\n" % (name.lower(), value)


def exchange_of(scope: Any) -> Exchange | None:
    """Return the exchange of a request, if its server is ours."""
    extensions = scope.get("extensions")
    return None if extensions is None else extensions.get(EXCHANGE)


TOLERANCE_SECONDS = 0.01
"""A connection may end so much too early: timers are no more exact than that."""


class RequestCycleProtocol(HttpToolsProtocol):
    """A connection.  One timer looks now and then whether it is idle: one for each pause costs more."""

    _idle_since: float | None = None
    """When the last answer was complete; None while a request is being read or answered."""
    _idle_timer: asyncio.TimerHandle | None = None

    def on_headers_complete(self) -> None:
        """Hand a request to the application."""
        version = self.parser.get_http_version()
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        scope["raw_path"] = url.path
        path = url.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        self._begin(scope, keep_alive=version != "1.0" and self.parser.should_keep_alive())

    def _begin(self, scope: Any, *, keep_alive: bool) -> None:
        earlier: RequestResponseCycle | None = self.cycle
        self.cycle = exchange = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        exchange.idle_seconds = self.timeout_keep_alive
        scope["extensions"] = {EXCHANGE: exchange}
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._look_for_idleness(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _look_for_idleness(self, seconds: float) -> None:
        self._idle_timer = self.loop.call_later(seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._idle_timer = None
        left = float(self.timeout_keep_alive)
        if self._idle_since is not None:
            left -= self.loop.time() - self._idle_since
        if left > TOLERANCE_SECONDS:
            self._look_for_idleness(left)
        else:
            self.timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)
