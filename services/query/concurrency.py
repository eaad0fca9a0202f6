"""Limits how much runs at once, in total and for each tenant: free slots, and turns to wait for."""

import asyncio
from collections.abc import Callable
from enum import StrEnum


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
