"""Fences the mergers of a generation: whoever wrote its states until now cannot any more."""

import asyncio

from schemas.topics import Topology
from services.runtime.kafka.clients import connect, producer
from services.runtime.settings import KafkaSettings

_AT_ONCE = 8


async def fence(settings: KafkaSettings, topology: Topology, partitions: int) -> None:
    """Return once no transaction of an earlier merger is open, and none of them can commit another.

    A merger that starts afterwards takes its ids back; it finds nothing to merge.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(partition: int) -> None:
        async with slots:
            await _taken_over(settings, topology.transactional_id(topology.merger_group, partition))

    await asyncio.gather(*(one(partition) for partition in range(partitions)))


async def _taken_over(settings: KafkaSettings, transactional_id: str) -> None:
    taking = producer(settings, "afterword-resize-fence", transactional_id=transactional_id)
    try:
        await connect(taking)
    finally:
        await taking.stop()
