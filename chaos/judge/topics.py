"""Reads topics from their beginning to their end, a few thousand records at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime.kafka.lenient_decoding import tolerate
from services.runtime.settings import KafkaSettings

_FETCH_BYTES = 16 << 20
_RECORDS = 5_000
_POLL_MS = 200
_REQUEST_MS = 40_000


class Topics:
    """All topics, through one consumer that belongs to no group."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def partitions_of(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        await self._consumer._client._wait_on_metadata(topic)
        return len(self._consumer.partitions_for_topic(topic) or ())

    async def end(self, topic: str, partition: int) -> int:
        """Return where a partition ends; for a reader of committed records, before an open transaction."""
        place = TopicPartition(topic, partition)
        return int((await self._consumer.end_offsets([place]))[place])

    async def read(self, topic: str, partition: int) -> AsyncIterator[Any]:
        """Yield everything that a partition holds now, in order."""
        place, end = TopicPartition(topic, partition), await self.end(topic, partition)
        self._consumer.assign([place])
        await self._consumer.seek_to_beginning(place)
        while await self._consumer.position(place) < end:
            found = await self._consumer.getmany(place, timeout_ms=_POLL_MS, max_records=_RECORDS)
            for record in found.get(place, ()):
                if record.offset < end:
                    yield record


@asynccontextmanager
async def opened(settings: KafkaSettings, *, committed: bool) -> AsyncIterator[Topics]:
    """Connect for the block; readers of `committed` records do not see what a transaction left behind."""
    tolerate()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="judge",
        request_timeout_ms=_REQUEST_MS,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    try:
        yield Topics(consumer)
    finally:
        await consumer.stop()
