"""The partitions that this process owns, and what is done with them.  Knows nothing of Faust."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from schemas.identity import version_of
from services.merger.context import Setup
from services.merger.core.expiry import since
from services.merger.metrics import PARTITIONS
from services.merger.partition import Partition
from services.merger.startup_check import Retention
from services.runtime.kafka.raw_fetch import Fetched

log = structlog.get_logger()

_OPENED_AT_ONCE = 4
"""Much of an opening is waiting for Kafka, which so many fill; more would only hold more in memory."""


class Worker:
    """Opens partitions once they are assigned, a few at a time, and closes them when they are taken away.

    Kafka says that a partition is assigned after it has begun to deliver it, so the first batch may come
    first: it opens its partition too, or waits for the opening that is under way.
    """

    def __init__(self, setup: Setup, is_assigned: Callable[[int], bool]) -> None:
        self._setup, self._is_assigned = setup, is_assigned
        self._owned: dict[int, Partition] = {}
        self._openings: dict[int, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_OPENED_AT_ONCE)

    async def merge(self, number: int, records: Fetched | Sequence[Any]) -> None:
        """Merge what was fetched from a partition, if it is still ours."""
        if number not in self._owned and self._is_assigned(number):
            await self.open(number)
        # Lost while the batch waited, or while it was opened: its next owner reads the batch.
        if partition := self._owned.get(number):
            await partition.merge(records)

    async def open(self, number: int) -> None:
        """Take a partition over and read back its rows; returns early should it be taken away meanwhile.

        Opening one that is not assigned would fence its owner.
        """
        if number in self._owned:
            return
        if (opening := self._openings.get(number)) is None:
            opening = self._openings[number] = asyncio.create_task(self._open(number), name=f"open {number}")
        await asyncio.wait({opening})
        if not opening.cancelled() or self._openings.get(number) is opening:
            opening.result()

    async def release(self, numbers: Iterable[int]) -> None:
        """Close partitions that are taken away."""
        numbers = list(numbers)
        openings = [opening for number in numbers if (opening := self._openings.pop(number, None))]
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        for number in numbers:
            if partition := self._owned.pop(number, None):
                await partition.close()
                log.info("partition closed", partition=number, position=partition.position)
        PARTITIONS.set(len(self._owned))

    async def close(self) -> None:
        """Close every partition."""
        await self.release([*self._owned, *self._openings])

    async def forget(self, kept: Retention) -> None:
        """Send null for rows whose erase is older than anything that could still bring them back."""
        if kept.longest_ms is None:
            return
        before = self._setup.clock() - kept.longest_ms
        for partition in list(self._owned.values()):
            while await partition.forget(before):
                pass

    async def forget_idle(self, kept: Retention, starts: Mapping[int, int]) -> None:
        """Send null for rows without an event for as long as they are kept.

        `starts`: the offset of the first event in each partition of the log.
        """
        if kept.idle_ms is None:
            return
        if not kept.is_idle_safe:
            log.warning("no idle rows removed: the log and the dead letters together keep events for longer")
            return
        for number, partition in list(self._owned.items()):
            version = version_of(self._setup.topology.generation, starts[number])
            count = await partition.forget_idle(since(self._setup.clock(), kept.idle_ms, version))
            log.info("idle rows removed", partition=number, rows=count)

    def readiness(self) -> str | None:
        """Return what is being waited for."""
        left = min(self._openings, default=None)
        return None if left is None else f"reading back the rows of partition {left}"

    async def _open(self, number: int) -> None:
        async with self._turns:
            self._owned[number] = await Partition.open(self._setup, number)
        self._openings.pop(number, None)
        PARTITIONS.set(len(self._owned))
