"""Reading a request's body, within limits of size and time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.ingest.budget import Budget
from services.ingest.encodings import decompress, encoding_of, too_large
from services.ingest.log import Overloaded
from services.ingest.metrics import BODY_BYTES
from services.ingest.patience import Patience
from services.ingest.rejections import Code, Rejection

Receive = Callable[[], Awaitable[Any]]
Headers = Mapping[bytes, bytes]

INLINE_BYTES = 64 << 10
"""Decompressed on the event loop up to this size; beyond, in a thread."""


class ClientGone(Exception):  # noqa: N818
    """The client left before its body had arrived: nobody is there to answer."""


class Bodies:
    """Reads bodies, and bounds the bytes of all that are on their way in."""

    def __init__(self, max_upload_bytes: int, seconds: float) -> None:
        self._budget = Budget(max_upload_bytes)
        self._patience = Patience(seconds)

    async def read(self, receive: Receive, headers: Headers, limit: int) -> bytes:
        """Return the body, decompressed, at most `limit` bytes either way.

        Raises Rejection, Overloaded or ClientGone.
        """
        encoding = encoding_of(headers.get(b"content-encoding"))
        if int(headers.get(b"content-length", b"0")) > limit:
            raise too_large(limit)
        try:
            body = await self._patience.wait(self._received(receive, limit))
        except TimeoutError:
            detail = f"the body did not arrive within {self._patience.seconds:g} s"
            raise Rejection(Code.REQUEST_TIMEOUT, detail) from None
        BODY_BYTES.inc(len(body))
        if encoding is None:
            return body
        if len(body) <= INLINE_BYTES:
            return decompress(encoding, body, limit)
        return await asyncio.to_thread(decompress, encoding, body, limit)

    async def _received(self, receive: Receive, limit: int) -> bytes:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        if not message.get("more_body", False):  # nearly always: one message, and no copy of it
            first: bytes = message.get("body", b"")
            if len(first) > limit:
                raise too_large(limit)
            return first
        return await self._gathered(receive, message, limit)

    async def _gathered(self, receive: Receive, message: Any, limit: int) -> bytes:
        body = bytearray()
        try:
            while True:
                piece = message.get("body", b"")
                if len(body) + len(piece) > limit:
                    raise too_large(limit)
                if not self._budget.take(len(piece)):
                    raise Overloaded
                body += piece
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
        finally:
            self._budget.give(len(body))
