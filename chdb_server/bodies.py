"""Reads request bodies, within limits of size, room and time."""

import asyncio

from chdb_server.admission import Share
from chdb_server.asgi import Receive
from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import Code, RefusedError


class ClientLeftError(Exception):
    """The client closed the connection; nobody waits for an answer."""


async def read(receive: Receive, share: Share, *, max_bytes: int, timeout_seconds: float) -> bytes:
    """Return the whole body.  RefusedError past a limit; ClientLeftError when it never came whole."""
    parts: list[bytes] = []
    more = True
    while more:
        part, more = await _next(receive, timeout_seconds)
        if share.taken + len(part) > max_bytes:
            raise TooLargeError(max_bytes)
        share.take(len(part))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _next(receive: Receive, timeout_seconds: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(timeout_seconds):
            message = await receive()
    except TimeoutError:
        text = f"The request's body stopped coming for {timeout_seconds:g} seconds."
        raise RefusedError(Code.SOCKET_TIMEOUT, text) from None
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    return message.get("body", b""), message.get("more_body", False)
