"""Where logs end and how far their readers are, asked of Kafka from outside.

It joins no group, and commits and creates nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import stamina
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from services.pipeline.core.generation_states import Generation
from services.pipeline.generations import generations
from services.runtime.kafka.clients import admin_client, connect, consumer
from services.runtime.settings import KafkaSettings

Place = tuple[str, int]
"""A topic and the number of a partition."""

_NO_COMMIT = -1

_coordinated = stamina.retry(
    on=(GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError),
    attempts=None,
    timeout=4.0,
    wait_initial=0.1,
    wait_max=0.5,
)
"""Asks again while groups have no coordinator yet: on a new Kafka, and just after a broker has come back."""


class Offsets:
    """Kafka, asked.  Everything raises KafkaError when it does not answer."""

    def __init__(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        self._admin, self._consumer = admin, consumer

    async def generations(self) -> list[Generation]:
        """Return every generation of the topics that exists."""
        return await generations(self._admin)

    async def places(self, topics: Iterable[str]) -> list[Place]:
        """Return every partition of those topics that exist."""
        wanted = set(topics)
        # All topics are asked for: asking for one by name could create it.
        described = await self._admin.describe_topics()
        return sorted(
            (topic["topic"], partition["partition"])
            for topic in described
            if topic["topic"] in wanted
            for partition in topic["partitions"]
        )

    async def starts(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return the offset of the first record that each partition still has."""
        found = await self._consumer.beginning_offsets(_partitions(places))
        return {(one.topic, one.partition): offset for one, offset in found.items()}

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return where each partition ends."""
        found = await self._consumer.end_offsets(_partitions(places))
        return {(one.topic, one.partition): offset for one, offset in found.items()}

    @_coordinated
    async def committed(self, group: str) -> dict[Place, int]:
        """Return what a group has committed; partitions without a commit are left out."""
        found = await self._admin.list_consumer_group_offsets(group)
        return {
            (one.topic, one.partition): entry.offset
            for one, entry in found.items()
            if entry.offset != _NO_COMMIT
        }

    async def members(self, groups: Iterable[str]) -> dict[str, int]:
        """Return how many consumers each group has now."""
        # One by one: aiokafka 0.14 decodes the answer as an older one, and stumbles at the second group.
        asked = (self._described(group) for group in groups)
        answers = [answer for answers in await asyncio.gather(*asked) for answer in answers]
        return {group[1]: len(group[5]) for answer in answers for group in answer.groups}

    @_coordinated
    async def _described(self, group: str) -> list[Any]:
        return list(await self._admin.describe_consumer_groups([group]))


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]


@asynccontextmanager
async def offsets(
    settings: KafkaSettings, client_id: str, *, committed: bool = False
) -> AsyncIterator[Offsets]:
    """Connect to Kafka for the block; KafkaConnectionError when no broker answers.

    A log ends behind its newest record, or, of what is `committed`, before the first open transaction.
    """
    async with AsyncExitStack() as started:
        admin = admin_client(settings, client_id)
        started.push_async_callback(admin.close)
        await connect(admin)
        isolation = "read_committed" if committed else "read_uncommitted"
        asking = consumer(settings, client_id, isolation_level=isolation)
        started.push_async_callback(asking.stop)
        await connect(asking)
        yield Offsets(admin, asking)
