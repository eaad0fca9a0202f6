"""Reads a topic from its beginning to its end, a few thousand records at a time."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime.settings import KafkaSettings
from services.runtime.tolerant import tolerate

_FETCH_BYTES = 16 << 20
_RECORDS = 5_000
_POLL_MS = 200
_REQUEST_MS = 40_000


async def partitions_of(settings: KafkaSettings, topic: str) -> int:
    """Return how many partitions a topic has."""
    consumer = _consumer(settings, committed=False)
    await consumer.start()
    try:
        await consumer._client._wait_on_metadata(topic)
        return len(consumer.partitions_for_topic(topic) or ())
    finally:
        await consumer.stop()


async def read(
    settings: KafkaSettings, topic: str, partition: int, *, committed: bool
) -> AsyncIterator[Sequence[Any]]:
    """Yield everything that a partition holds now, in order; of transactions, what is `committed`."""
    tolerate()
    place = TopicPartition(topic, partition)
    consumer = _consumer(settings, committed=committed)
    consumer.assign([place])
    await consumer.start()
    try:
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            found = await consumer.getmany(place, timeout_ms=_POLL_MS, max_records=_RECORDS)
            if records := [one for one in found.get(place, ()) if one.offset < end]:
                yield records
    finally:
        await consumer.stop()


def _consumer(settings: KafkaSettings, *, committed: bool) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id="judge",
        request_timeout_ms=_REQUEST_MS,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_bytes=_FETCH_BYTES,
    )
