"""Limits what happens at the same time: running queries, and bytes of request bodies in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import ClickHouseCode, QueryRefusedError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class QuerySlots:
    """Lets `limit` queries run at the same time; others wait in a queue, at most `wait_seconds`."""

    def __init__(self, limit: int, wait_seconds: float) -> None:
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._free = asyncio.Semaphore(limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the block.  QueryRefusedError after `wait_seconds`."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            text = f"Too many simultaneous queries: {self._limit} are running."
            raise QueryRefusedError(ClickHouseCode.TOO_MANY_SIMULTANEOUS_QUERIES, text) from None
        try:
            yield
        finally:
            self._free.release()


class BodyMemory:
    """The memory that all request bodies share, limited in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextmanager
    def reservation(self) -> Iterator["BodyReservation"]:
        """Yield a reservation, which is released after the block."""
        reservation = BodyReservation(self)
        try:
            yield reservation
        finally:
            self._taken -= reservation.taken

    def _take(self, size: int) -> None:
        if self._taken + size > self._limit:
            text = f"Request bodies already take {self._taken} of {self._limit} bytes: try again."
            raise QueryRefusedError(ClickHouseCode.MEMORY_LIMIT_EXCEEDED, text)
        self._taken += size


class BodyReservation:
    """The memory that one request's body takes."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.taken = 0

    def take(self, size: int) -> None:
        """Reserve `size` bytes more.  QueryRefusedError if the limit is exceeded."""
        self._memory._take(size)  # noqa: SLF001 (they belong together)
        self.taken += size


class ClientLeftError(Exception):
    """Raised when the client closed the connection before its body was complete."""


async def read_body(
    receive: Receive, reservation: BodyReservation, *, max_bytes: int, timeout_seconds: float
) -> bytes:
    """Return the complete body.  QueryRefusedError past a limit; ClientLeftError if the client leaves."""
    parts: list[bytes] = []
    more = True
    while more:
        part, more = await _next(receive, timeout_seconds)
        if reservation.taken + len(part) > max_bytes:
            raise TooLargeError(max_bytes)
        reservation.take(len(part))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _next(receive: Receive, timeout_seconds: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(timeout_seconds):
            message = await receive()
    except TimeoutError:
        text = f"The request's body stopped coming for {timeout_seconds:g} seconds."
        raise QueryRefusedError(ClickHouseCode.SOCKET_TIMEOUT, text) from None
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    return message.get("body", b""), message.get("more_body", False)
