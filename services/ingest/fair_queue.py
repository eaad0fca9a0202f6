"""Time slices for batches: one batch at a time, tenants in rotation, other requests in between."""

import asyncio
import time
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """A queue for each tenant, served in rotation, however many entries each has."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()

    def add(self, tenant: str, entry: T) -> None:
        """Append an entry to its tenant's queue."""
        self._queues.setdefault(tenant, deque()).append(entry)

    def next(self) -> T | None:
        """Return the next entry, None if there is none; its tenant moves to the end of the rotation."""
        if not self._queues:
            return None
        tenant, queue = self._queues.popitem(last=False)
        entry = queue.popleft()
        if queue:
            self._queues[tenant] = queue
        return entry

    def __bool__(self) -> bool:
        return bool(self._queues)


SLICE_SECONDS = 0.005
"""How long a batch may occupy the event loop without a pause."""


class FairQueue:
    """Lets one batch work at a time, so that many of them delay other requests by one time slice."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: Rotation[asyncio.Future[None]] = Rotation()

    async def take(self, tenant: str) -> None:
        """Wait for a turn of the tenant."""
        if self._is_taken:
            await self._turn(self._enqueue(tenant))
        self._is_taken = True

    async def take_again(self, tenant: str) -> None:
        """End the turn, and wait for the tenant's next: at least for one iteration of the event loop."""
        entry = self._enqueue(tenant)
        self.leave()
        await self._turn(entry)

    def _enqueue(self, tenant: str) -> asyncio.Future[None]:
        entry: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(tenant, entry)
        return entry

    async def _turn(self, entry: asyncio.Future[None]) -> None:
        try:
            await asyncio.sleep(0)
            await entry
        except asyncio.CancelledError:
            if not entry.cancel() and not entry.cancelled():  # the turn was given, and will not be used
                self.leave()
            raise

    def leave(self) -> None:
        """End the turn, and give it to the next entry."""
        while (entry := self._waiting.next()) is not None:
            if not entry.done():
                entry.set_result(None)
                return
        self._is_taken = False


class TimeSlices:
    """The time slices of one batch: work inside of `async with slices:`, and call `pause` between steps."""

    def __init__(self, queue: FairQueue, tenant: str) -> None:
        self._queue, self._tenant = queue, tenant
        self._is_working = False
        self._ends = 0.0

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    async def enter(self) -> None:
        """Wait for a time slice."""
        await self._queue.take(self._tenant)
        self._is_working, self._ends = True, time.monotonic() + SLICE_SECONDS

    def leave(self) -> None:
        """End the time slice, if the batch has one."""
        if self._is_working:
            self._is_working = False
            self._queue.leave()

    async def pause(self) -> None:
        """Give the turn to other batches if the time slice is over."""
        if time.monotonic() > self._ends:
            self._is_working = False
            await self._queue.take_again(self._tenant)
            self._is_working, self._ends = True, time.monotonic() + SLICE_SECONDS
