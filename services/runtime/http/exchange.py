"""A request and its answer, as uvicorn has them, and two short cuts for applications that know of them.

A small request has arrived whole before anybody asks for it, and its answer is known whole: then neither
takes a message, and the answer is one write instead of two, which are two calls of the system.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

EXCHANGE = "afterword.exchange"
"""The extension, in the scope of a request, that is its `Exchange`."""

Header = tuple[bytes, bytes]


class Exchange(RequestResponseCycle):
    """What ASGI's messages do, and the same at once.

    An answer after which the connection stays open says for how long: a client that waits longer between two
    requests opens a new one, instead of sending into a connection that is being closed.
    """

    idle_seconds = 0

    def arrived(self) -> bytes | None:
        """Return the body if all of it is here, and nobody was told of it; else it takes messages."""
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
