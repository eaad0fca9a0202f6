"""Background work that one sink of the group does: the one that owns the first partition of the events.

Handing over needs nothing: whoever owns that partition next begins where the servers say that things are.
For some seconds after a rebalance two sinks may be at the same chore, so each must be safe beside itself, and
its runs short.  A chore that fails is tried again later; no route waits for one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

import structlog

from services.runtime.core.backoff import delays
from services.sink import metrics
from services.sink.outage import Sleep

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often a sink whose turn it is not looks whether that has changed."""
MOST_SECONDS = 600.0
"""What takes longer hangs: it is cut off, and counts as failed."""
LONGEST_PAUSE_SECONDS = 10.0


async def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Chore:
    """One kind of work, which ends by itself; `seconds` lie between its end and its next beginning.

    `close` is called when the sink stops: for what the work keeps open in between.
    """

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]
    close: Callable[[], Awaitable[None]] = _nothing


class Chores:
    """Every chore in a task of its own, for as long as it is this sink's turn."""

    def __init__(
        self, chores: Iterable[Chore], is_mine: Callable[[], bool], sleep: Sleep = asyncio.sleep
    ) -> None:
        self._chores, self._is_mine, self._sleep = tuple(chores), is_mine, sleep

    async def run(self) -> None:
        """Do them again and again, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for chore in self._chores:
                group.create_task(self._keep(chore), name=f"chore {chore.name}")

    async def _keep(self, chore: Chore) -> None:
        try:
            await self._repeat(chore)
        finally:
            await chore.close()

    async def _repeat(self, chore: Chore) -> None:
        pauses = _pauses(chore)
        while True:
            mine = self._is_mine()
            metrics.CHORE_TURN.labels(chore.name).set(mine)
            if not mine:
                await self._sleep(LOOK_SECONDS)
            elif await _succeeds(chore):
                pauses = _pauses(chore)
                await self._sleep(chore.seconds)
            else:
                await self._sleep(next(pauses))


async def _succeeds(chore: Chore) -> bool:
    metrics.CHORE_RUNS.labels(chore.name).inc()
    try:
        async with asyncio.timeout(MOST_SECONDS):
            await chore.work()
    except Exception as error:
        metrics.CHORE_FAILURES.labels(chore.name).inc()
        log.warning("chore failed", chore=chore.name, reason=repr(error)[:1_000], exc_info=True)
        return False
    return True


def _pauses(chore: Chore) -> Iterator[float]:
    first = max(1.0, chore.seconds)
    return delays(first=first, longest=max(first, LONGEST_PAUSE_SECONDS))
