"""How far consumer groups are, and whether all of their members have their share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bench.stages import PARTITIONS
from schemas.topics import Topic
from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually

_WITHIN = 120.0
_LOOK_SECONDS = 0.05


async def settled(settings: KafkaSettings, group: str, members: int) -> None:
    """Wait until a group has `members` members, and all of them know their partitions."""
    admin = AIOKafkaAdminClient(**client_options(settings, "bench"))
    await admin.start()

    async def is_settled() -> bool:
        (answer,) = await admin.describe_consumer_groups([group])
        (found,) = answer.to_object()["groups"]
        return found["state"] == "Stable" and len(found["members"]) == members

    try:
        await eventually(is_settled, within=_WITHIN)
    finally:
        await admin.close()


@asynccontextmanager
async def _reader(settings: KafkaSettings, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(**client_options(settings, "bench"), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def drained(settings: KafkaSettings, group: str, topic: Topic) -> None:
    """Wait until a group has read a topic to its end.

    A marker that ends a transaction may follow the last record of each partition.
    """
    places = [TopicPartition(topic.name, number) for number in range(PARTITIONS)]
    async with _reader(settings, group) as reader:

        async def is_read() -> bool:
            ends = await reader.end_offsets(places)
            return all([(await reader.committed(one) or 0) + 1 >= ends[one] for one in places])

        await eventually(is_read, within=_WITHIN, every=_LOOK_SECONDS)
