"""How much may be going on at once: queries that run, and bytes of bodies that wait."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from chdb_server.core.errors import Code, RefusedError


class Turns:
    """Lets so many queries run at once; the others wait in line, though not for ever."""

    def __init__(self, limit: int, wait_seconds: float) -> None:
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._free = asyncio.Semaphore(limit)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Run the block when there is room.  RefusedError after too long a wait."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            text = f"Too many simultaneous queries: {self._limit} are running."
            raise RefusedError(Code.TOO_MANY_SIMULTANEOUS_QUERIES, text) from None
        try:
            yield
        finally:
            self._free.release()


class Room:
    """Memory for request bodies."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Take room in the block, all of which is given back after it."""
        share = Share(self)
        try:
            yield share
        finally:
            self._taken -= share.taken

    def _take(self, size: int) -> None:
        if self._taken + size > self._limit:
            text = f"Request bodies already take {self._taken} of {self._limit} bytes: try again."
            raise RefusedError(Code.MEMORY_LIMIT_EXCEEDED, text)
        self._taken += size


class Share:
    """One request's part of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def take(self, size: int) -> None:
        """Take so many bytes more.  RefusedError when there is no room."""
        self._room._take(size)  # noqa: SLF001 (two halves of one thing)
        self.taken += size
