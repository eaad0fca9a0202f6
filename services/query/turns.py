"""Whose question is next: a few at once, and always some room for other tenants than the busiest."""

import asyncio
from collections.abc import Callable


class Turns:
    """At most `total` at once; one tenant has at most all but a quarter of them.

    So a tenant whose questions are slow makes its own readers wait, and nobody else's.
    """

    def __init__(self, total: int, wait_seconds: float) -> None:
        self.share = max(1, total - max(1, total // 4))
        """What one tenant may have at once."""
        self._all = asyncio.Semaphore(total)
        self._of: dict[str, asyncio.Semaphore] = {}
        self._wait_seconds = wait_seconds

    async def next(self, tenant: str) -> Callable[[], None]:
        """Wait for a turn, and return what ends it; raise TimeoutError when none came in time."""
        own = self._of.setdefault(tenant, asyncio.Semaphore(self.share))
        async with asyncio.timeout(self._wait_seconds):
            await own.acquire()
            try:
                await self._all.acquire()
            except BaseException:
                own.release()
                raise

        def end() -> None:
            self._all.release()
            own.release()

        return end
