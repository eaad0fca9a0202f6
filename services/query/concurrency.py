"""Whose question is next: a few at once, and always some room for other tenants than the busiest."""

import asyncio
from collections.abc import Callable

from services.query.core.places import share_of


class Turns:
    """At most `total` at once; one tenant has at most its share of them.

    So a tenant whose questions are slow makes its own readers wait, and nobody else's.  No more than
    `waiting` of one tenant stand in line.
    """

    def __init__(self, total: int, wait_seconds: float, waiting: int = 1000) -> None:
        self.share = share_of(total)
        """What one tenant may have at once."""
        self._all = asyncio.Semaphore(total)
        self._of: dict[str, _Own] = {}
        self._wait_seconds, self._waiting = wait_seconds, waiting

    async def next(self, tenant: str) -> Callable[[], None]:
        """Wait for a turn, and return what ends it; raise TimeoutError when none came in time."""
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
        """Tell whether a tenant has all the turns that one may have."""
        own = self._of.get(tenant)
        return own is not None and own.turns.locked()

    def _forget(self, tenant: str, own: "_Own") -> None:
        own.users -= 1
        if not own.users:
            del self._of[tenant]


class _Own:
    """A tenant's turns, and how many use them or wait for them."""

    def __init__(self, share: int) -> None:
        self.turns = asyncio.Semaphore(share)
        self.users = 0
