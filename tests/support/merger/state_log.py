"""Writes topics as the merger and ingest do, for tests of what reads them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from schemas.identity import partition_of
from schemas.topics import Topic
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, client_options
from services.runtime.settings import KafkaSettings

Entry = tuple[bytes | None, bytes | None] | tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value, and headers if there are any."""


@asynccontextmanager
async def producer(
    settings: KafkaSettings, topic: Topic, *, transactional: bool = False
) -> AsyncIterator[AIOKafkaProducer]:
    """Yield a producer for the largest records of a topic."""
    client = AIOKafkaProducer(
        **client_options(settings, "test"),
        acks="all",
        linger_ms=5,
        max_batch_size=2**20,
        max_request_size=topic.max_message_bytes + RECORD_OVERHEAD_BYTES,
        transactional_id=f"test-{uuid4()}" if transactional else None,
    )
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def write(
    settings: KafkaSettings,
    topic: Topic,
    entries: Iterable[Entry],
    *,
    partitions: int = 4,
    transactional: bool = False,
) -> None:
    """Append records where their keys belong, and return once Kafka has them all."""
    async with producer(settings, topic, transactional=transactional) as client:
        if not transactional:
            await _append(client, topic, entries, partitions)
            return
        async with client.transaction():
            await _append(client, topic, entries, partitions)


async def _append(client: AIOKafkaProducer, topic: Topic, entries: Iterable[Entry], partitions: int) -> None:
    sent = []
    for key, value, *rest in entries:
        place = partition_of(key or b"", topic.partitions(partitions))
        sent.append(
            await client.send(
                topic.name, value=value, key=key, partition=place, headers=list(rest[0]) if rest else None
            )
        )
    for one in sent:
        await one


async def ends(settings: KafkaSettings, topic: Topic, partitions: int = 4) -> list[int]:
    """Return the offset behind the last one of each partition, markers of transactions included."""
    places = [TopicPartition(topic.name, number) for number in range(topic.partitions(partitions))]
    consumer = AIOKafkaConsumer(**client_options(settings, "test"))
    await consumer.start()
    try:
        found = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    return [found[place] for place in places]


async def values(settings: KafkaSettings, topic: Topic) -> list[tuple[bytes | None, dict[str, bytes]]]:
    """Return the committed values of a topic with one partition, each with its headers."""
    place = TopicPartition(topic.name, 0)
    consumer = AIOKafkaConsumer(
        **client_options(settings, "test"),
        isolation_level="read_committed",
        max_partition_fetch_bytes=topic.max_message_bytes + RECORD_OVERHEAD_BYTES,
    )
    consumer.assign([place])
    await consumer.start()
    found = []
    try:
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(record.value, dict(record.headers)) for record in records]
    finally:
        await consumer.stop()
    return found


async def reset_group(
    settings: KafkaSettings, group: str, topic: Topic, offset: int, partitions: int = 4
) -> None:
    """Set a group's offsets on every partition, as an operator does while its members are stopped."""
    places = [TopicPartition(topic.name, number) for number in range(topic.partitions(partitions))]
    consumer = AIOKafkaConsumer(**client_options(settings, "test"), group_id=group, enable_auto_commit=False)
    consumer.assign(places)
    await consumer.start()
    try:
        await consumer.commit({place: OffsetAndMetadata(offset, "") for place in places})
    finally:
        await consumer.stop()
