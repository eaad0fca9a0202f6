"""Opens, merges, cleans up and closes the partitions assigned to this process; independent of Faust."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from schemas.identity import version_of
from services.merger.context import Setup
from services.merger.core.state import older_than
from services.merger.metrics import PARTITIONS
from services.merger.partition import OwnedPartition
from services.merger.startup_check import Retention
from services.runtime.kafka.raw_fetch import Fetched

log = structlog.get_logger()

_OPENED_AT_ONCE = 4
"""Opening a partition mostly waits for Kafka; more at once would only need more memory."""


class Worker:
    """Opens partitions once they are assigned, a few at a time, and closes them when they are revoked.

    The first batch of a partition may arrive before the assignment is reported: it opens the partition
    too, or waits for the opening in progress.
    """

    def __init__(self, setup: Setup, is_assigned: Callable[[int], bool]) -> None:
        self._setup, self._is_assigned = setup, is_assigned
        self._owned: dict[int, OwnedPartition] = {}
        self._openings: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_OPENED_AT_ONCE)

    async def merge(self, number: int, records: Fetched | Sequence[Any]) -> None:
        """Merge what was fetched from a partition, if this process still owns it."""
        if number not in self._owned and self._is_assigned(number):
            await self.open(number)
        # Revoked while the batch waited or the partition was opened: the next owner reads the batch.
        if partition := self._owned.get(number):
            await partition.merge(records)

    async def open(self, number: int) -> None:
        """Take a partition over and read back its states; returns early if it is revoked meanwhile.

        Opening a partition that is not assigned would fence its owner.
        """
        if number in self._owned:
            return
        if (opening := self._openings.get(number)) is None:
            opening = self._openings[number] = asyncio.create_task(self._open(number), name=f"open {number}")
        await asyncio.wait({opening})
        if not opening.cancelled() or self._openings.get(number) is opening:
            opening.result()

    async def release(self, numbers: Iterable[int]) -> None:
        """Close revoked partitions."""
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
        """Write tombstones for erased states, once no older event can be read or replayed."""
        if kept.longest_ms is None:
            return
        before = self._setup.clock() - kept.longest_ms
        for partition in list(self._owned.values()):
            while await partition.forget(before):
                pass

    async def forget_idle(self, kept: Retention, starts: Mapping[int, int]) -> None:
        """Write tombstones for states whose retention has passed without an event.

        `starts`: the offset of the first event in each partition of the log.
        """
        if kept.idle_ms is None:
            return
        if not kept.is_idle_safe:
            log.warning("no idle rows removed: the log and the dead letters together keep events for longer")
            return
        for number, partition in list(self._owned.items()):
            version = version_of(self._setup.topology.generation, starts[number])
            count = await partition.forget_idle(older_than(self._setup.clock(), kept.idle_ms, version))
            log.info("idle rows removed", partition=number, rows=count)

    def readiness(self) -> str | None:
        """Return what the worker waits for, None once every partition is open."""
        first = min(self._openings, default=None)
        return None if first is None else f"reading back the rows of partition {first}"

    async def _open(self, number: int) -> None:
        async with self._slots:
            self._owned[number] = await OwnedPartition.open(self._setup, number)
        self._openings.pop(number, None)
        PARTITIONS.set(len(self._owned))
