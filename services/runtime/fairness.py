"""Shares of tenants: time slices of the event loop in rotation, and slots and turns of which none has all."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import StrEnum
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


def share_of(total: int) -> int:
    """Return how many of `total` slots one tenant may have: all but a quarter, and at least one."""
    return max(1, total - max(1, total // 4))


class NoSlot(StrEnum):
    """Why there is no free slot."""

    ALL = "all"
    """All are in use."""
    OWN = "own"
    """The tenant uses all of its share."""


class TenantSlots:
    """Slots, of which one tenant never has all, if there are at least two."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._share = share_of(total)
        self._of: dict[str, int] = {}

    def full(self, tenant: str) -> NoSlot | None:
        """Return why no slot is free for a tenant, or None if one is."""
        if self._free <= 0:
            return NoSlot.ALL
        return NoSlot.OWN if self._of.get(tenant, 0) >= self._share else None

    def take(self, tenant: str) -> None:
        """Take a free slot."""
        self._free -= 1
        self._of[tenant] = self._of.get(tenant, 0) + 1

    def leave(self, tenant: str) -> None:
        """Free a slot."""
        self._free += 1
        self._of[tenant] -= 1
        if not self._of[tenant]:
            del self._of[tenant]


class TenantTurns:
    """At most `total` at once; one tenant has at most its share of them.

    A tenant with slow queries delays its own clients only.  At most `waiting` of one tenant are queued.
    """

    def __init__(self, total: int, wait_seconds: float, waiting: int = 1000) -> None:
        self.share = share_of(total)
        """How many of one tenant may run at once."""
        self._all = asyncio.Semaphore(total)
        self._of: dict[str, _Own] = {}
        self._wait_seconds, self._waiting = wait_seconds, waiting

    async def next(self, tenant: str) -> Callable[[], None]:
        """Wait for a turn; return the function that ends it.  TimeoutError if none came in time."""
        own = self._of.setdefault(tenant, _Own(self.share))
        if own.users >= self.share + self._waiting:
            raise TimeoutError
        own.users += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await own.turns.acquire()
                try:
                    await self._all.acquire()
                except BaseException:
                    own.turns.release()
                    raise
        except BaseException:
            self._forget(tenant, own)
            raise

        def end() -> None:
            self._all.release()
            own.turns.release()
            self._forget(tenant, own)

        return end

    def is_busy(self, tenant: str) -> bool:
        """Return whether a tenant uses all the turns that it may have."""
        own = self._of.get(tenant)
        return own is not None and own.turns.locked()

    def _forget(self, tenant: str, own: "_Own") -> None:
        own.users -= 1
        if not own.users:
            del self._of[tenant]


class _Own:
    """The turns of a tenant, and how many requests use or await them."""

    def __init__(self, share: int) -> None:
        self.turns = asyncio.Semaphore(share)
        self.users = 0
