"""Long work in short turns: one batch at a time, tenant by tenant, and everything else in between."""

import asyncio
import time
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """Lines of waiting ones, one a tenant.  A tenant that waits with a hundred gets the turns of one."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def add(self, tenant: str, one: T) -> None:
        """Stand in line."""
        self._lines.setdefault(tenant, deque()).append(one)

    def next(self) -> T | None:
        """Return who is next, None if nobody waits; its tenant is the last in the round now."""
        if not self._lines:
            return None
        tenant, line = self._lines.popitem(last=False)
        one = line.popleft()
        if line:
            self._lines[tenant] = line
        return one

    def __bool__(self) -> bool:
        return bool(self._lines)


TURN_SECONDS = 0.005
"""How long a batch may work without a pause: it must not hold up everyone else."""


class Desk:
    """Where batches are worked on: by one at a time, so that a hundred of them cost others one turn."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: Rotation[asyncio.Future[None]] = Rotation()

    async def take(self, tenant: str) -> None:
        """Wait until it is the tenant's turn."""
        if self._is_taken:
            await self._called(self._in_line(tenant))
        self._is_taken = True

    async def take_again(self, tenant: str) -> None:
        """Leave, and wait until it is the tenant's turn again: at least for a round of the loop."""
        place = self._in_line(tenant)
        self.leave()
        await self._called(place)

    def _in_line(self, tenant: str) -> asyncio.Future[None]:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(tenant, place)
        return place

    async def _called(self, place: asyncio.Future[None]) -> None:
        try:
            await asyncio.sleep(0)
            await place
        except asyncio.CancelledError:
            if not place.cancel() and not place.cancelled():  # called just now, and will not come
                self.leave()
            raise

    def leave(self) -> None:
        """Let the next one work."""
        while (called := self._waiting.next()) is not None:
            if not called.done():
                called.set_result(None)
                return
        self._is_taken = False


class Turns:
    """The turns of one batch: `async with turns:` works at the desk, and `pause` lets others work."""

    def __init__(self, desk: Desk, tenant: str) -> None:
        self._desk, self._tenant = desk, tenant
        self._is_here = False
        self._ends = 0.0

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    async def enter(self) -> None:
        """Wait for a turn."""
        await self._desk.take(self._tenant)
        self._is_here, self._ends = True, time.monotonic() + TURN_SECONDS

    def leave(self) -> None:
        """End the turn, if it is this batch's."""
        if self._is_here:
            self._is_here = False
            self._desk.leave()

    async def pause(self) -> None:
        """Let others have their turn when this one has taken long enough."""
        if time.monotonic() > self._ends:
            self._is_here = False
            await self._desk.take_again(self._tenant)
            self._is_here, self._ends = True, time.monotonic() + TURN_SECONDS
