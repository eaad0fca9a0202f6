"""The partitions that this process owns, and what is done with them.  Knows nothing of Faust."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from services.merger.metrics import PARTITIONS
from services.merger.partition import Partition
from services.merger.preflight import Retention
from services.merger.setup import Setup

log = structlog.get_logger()


class Worker:
    """Opens partitions with their first batch and closes them when they are taken away."""

    def __init__(self, setup: Setup, is_assigned: Callable[[int], bool]) -> None:
        self._setup, self._is_assigned = setup, is_assigned
        self._owned: dict[int, Partition] = {}
        self._opening: int | None = None

    async def merge(self, number: int, records: Sequence[Any]) -> None:
        """Merge what was fetched from a partition, if it is still ours."""
        if number not in self._owned:
            # Lost while the batch waited: opening it now would fence its new owner.
            if not self._is_assigned(number):
                return
            await self._open(number)
        await self._owned[number].merge(records)

    async def release(self, numbers: Iterable[int]) -> None:
        """Close partitions that are taken away."""
        for number in numbers:
            if partition := self._owned.pop(number, None):
                await partition.close()
                log.info("partition closed", partition=number, position=partition.position)
        PARTITIONS.set(len(self._owned))

    async def close(self) -> None:
        """Close every partition."""
        await self.release(list(self._owned))

    async def forget(self, kept: Retention) -> None:
        """Send null for rows whose erase is older than anything that could still bring them back."""
        if kept.longest_ms is None:
            return
        before = self._setup.clock() - kept.longest_ms
        for partition in list(self._owned.values()):
            while await partition.forget(before):
                pass

    def readiness(self) -> str | None:
        """Return what is being waited for."""
        return None if self._opening is None else f"reading back the rows of partition {self._opening}"

    async def _open(self, number: int) -> None:
        self._opening = number
        try:
            self._owned[number] = await Partition.open(self._setup, number)
        finally:
            self._opening = None
        PARTITIONS.set(len(self._owned))
