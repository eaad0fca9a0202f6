"""Sends results and errors in the format of ClickHouse's HTTP interface."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from chdb_server.admission import Send
from chdb_server.core import encodings, formats
from chdb_server.core.blocks import BlockEncoder
from chdb_server.core.errors import Failure
from chdb_server.core.request import QueryRequest
from chdb_server.execution import Summary

_BREAK_AFTER_SECONDS = 0.25
_TEXT = "text/plain; charset=UTF-8"


@dataclass(frozen=True)
class Replies:
    """Sends complete replies, with the common headers."""

    timezone: str

    async def text(
        self, send: Send, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a text as a complete reply."""
        fixed = {"Content-Type": _TEXT, "Content-Length": str(len(body))}
        await self.start(send, status, {**fixed, **(headers or {})})
        await send({"type": "http.response.body", "body": body})

    async def failure(self, send: Send, failure: Failure, query_id: str = "") -> None:
        """Send an error as a complete reply."""
        headers = {"X-ClickHouse-Exception-Code": str(failure.code)}
        if query_id:
            headers["X-ClickHouse-Query-Id"] = query_id
        await self.text(send, failure.status, failure.body, headers)

    async def start(self, send: Send, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and headers."""
        fixed = {"X-ClickHouse-Server-Display-Name": "afterword", "X-ClickHouse-Timezone": self.timezone}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in {**fixed, **headers}.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})


class StreamedReply:
    """A reply of unknown length, compressed if the client requests it."""

    def __init__(self, replies: Replies, request: QueryRequest, send: Send) -> None:
        self._replies = replies
        self._request = request
        self._send = send
        self._tag = secrets.token_hex(8)
        self._encoder = _encoder(request)

    @property
    def query_id(self) -> str:
        """The id of the query."""
        return self._request.query_id

    async def begin(self, summary: Summary, *, has_rows: bool) -> None:
        """Send the headers.  No format without rows: clients distinguish commands from queries by it."""
        headers = {
            "Content-Type": formats.mime_type(self._request.format) if has_rows else _TEXT,
            "X-ClickHouse-Query-Id": self._request.query_id,
            "X-ClickHouse-Summary": summary.header(),
            "X-ClickHouse-Exception-Tag": self._tag,
        }
        if has_rows:
            headers["X-ClickHouse-Format"] = self._request.format
        if self._request.encoding:
            headers["Content-Encoding"] = self._request.encoding
        await self._replies.start(self._send, 200, headers)

    async def piece(self, piece: bytes) -> None:
        """Send a piece of the result."""
        await self._body(self._encoder.compress(piece) if self._encoder else piece, more=True)

    async def end(self) -> None:
        """Send the end of a complete result."""
        await self._body(self._encoder.flush() if self._encoder else b"", more=False)

    async def fail(self, failure: Failure) -> None:
        """Send the error that ends a result early, in ClickHouse's format for it.

        The reply stays unfinished, so that clients which do not parse the error see a broken transfer and not
        a short but complete result.  It breaks after a delay, since asynchronous clients discard unread data
        when the connection breaks.
        """
        text, tag = failure.body.rstrip(b"\n"), self._tag.encode()
        note = b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (tag, text, len(text) + 1, tag)
        await self._body(
            self._encoder.compress(note) + self._encoder.flush() if self._encoder else note, more=True
        )
        await asyncio.sleep(_BREAK_AFTER_SECONDS)

    async def _body(self, body: bytes, *, more: bool) -> None:
        if body or not more:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _encoder(request: QueryRequest) -> encodings.ContentEncoder | None:
    if request.in_blocks:
        return BlockEncoder()
    return encodings.encoder(request.encoding) if request.encoding else None
