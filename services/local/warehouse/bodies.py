"""Reads request bodies, within limits of size, room and time."""

import asyncio
from dataclasses import dataclass

from services.local.warehouse.admission import Share
from services.local.warehouse.asgi import Receive
from services.local.warehouse.encodings import TooLargeError
from services.local.warehouse.errors import Code, RefusedError


class ClientLeftError(Exception):
    """The client closed the connection; nobody waits for an answer."""


@dataclass
class Body:
    """The body of one request, as it comes.  max_bytes: as sent; timeout_seconds: between two parts."""

    receive: Receive
    max_bytes: int
    timeout_seconds: float
    ended: bool = False

    async def read(self, share: Share) -> bytes:
        """Return the whole body.  RefusedError past a limit; ClientLeftError when it never came whole."""
        parts: list[bytes] = []
        while not self.ended:
            part = await self._next()
            if share.taken + len(part) > self.max_bytes:
                raise TooLargeError(self.max_bytes)
            share.take(len(part))
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def discard(self) -> None:
        """Read what nobody wants, so that the client comes to read why, instead of finding a reset."""
        seen = 0
        while not self.ended and seen <= self.max_bytes:
            try:
                seen += len(await self._next())
            except RefusedError:
                return

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                message = await self.receive()
        except TimeoutError:
            text = f"The request's body stopped coming for {self.timeout_seconds:g} seconds."
            raise RefusedError(Code.SOCKET_TIMEOUT, text) from None
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        self.ended = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part
