"""Reads from Kafka where logs begin and end and what groups have committed, and the pipeline's snapshot.

It joins no group, and commits and creates nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import stamina
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from schemas.topics import Topology
from services.pipeline.core.generation_states import Generation
from services.pipeline.core.snapshot import PipelineSnapshot, stored_positions
from services.pipeline.generations import generations
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.kafka.clients import admin_client, connect, consumer
from services.runtime.kafka.core.records import Partition
from services.runtime.settings import KafkaSettings

T = TypeVar("T")

FindRows = Callable[[Statement], Awaitable[Sequence[Mapping[str, Any]]]]
"""Returns the rows that ClickHouse answers a statement with."""

_NO_COMMIT = -1

_coordinated = stamina.retry(
    on=(GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError),
    attempts=None,
    timeout=4.0,
    wait_initial=0.1,
    wait_max=0.5,
)
"""Retries while groups have no coordinator yet: on a new Kafka, and just after a broker restarted."""


class Offsets:
    """Reads offsets from Kafka.  Every method raises KafkaError when Kafka does not answer."""

    def __init__(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        self._admin, self._consumer = admin, consumer

    async def generations(self) -> list[Generation]:
        """Return every generation of the topics that exists."""
        return await generations(self._admin)

    async def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """Return every partition of those topics that exist, sorted."""
        names = set(topics)
        # All topics are requested: a request for one by name could create it.
        described = await self._admin.describe_topics()
        return sorted(
            (topic["topic"], partition["partition"])
            for topic in described
            if topic["topic"] in names
            for partition in topic["partitions"]
        )

    async def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset of the first record that each partition still has."""
        found = await self._consumer.beginning_offsets(_topic_partitions(partitions))
        return {(key.topic, key.partition): offset for key, offset in found.items()}

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return where each partition ends."""
        found = await self._consumer.end_offsets(_topic_partitions(partitions))
        return {(key.topic, key.partition): offset for key, offset in found.items()}

    @_coordinated
    async def committed(self, group: str) -> dict[Partition, int]:
        """Return what a group has committed; partitions without a commit are omitted."""
        found = await self._admin.list_consumer_group_offsets(group)
        return {
            (key.topic, key.partition): entry.offset
            for key, entry in found.items()
            if entry.offset != _NO_COMMIT
        }

    async def members(self, groups: Iterable[str]) -> dict[str, int]:
        """Return how many consumers each group has now."""
        # One group a request: aiokafka 0.14 decodes the response by an older schema, and fails at the second.
        requests = (self._described(group) for group in groups)
        answers = [answer for answers in await asyncio.gather(*requests) for answer in answers]
        return {group[1]: len(group[5]) for answer in answers for group in answer.groups}

    @_coordinated
    async def _described(self, group: str) -> list[Any]:
        return list(await self._admin.describe_consumer_groups([group]))


def _topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


@asynccontextmanager
async def offsets(
    settings: KafkaSettings, client_id: str, *, committed: bool = False
) -> AsyncIterator[Offsets]:
    """Connect to Kafka for the block; KafkaConnectionError when no broker answers.

    Ends are high watermarks, or with `committed` the last stable offsets: before the first open transaction.
    """
    async with AsyncExitStack() as started:
        admin = admin_client(settings, client_id)
        started.push_async_callback(admin.close)
        await connect(admin)
        isolation = "read_committed" if committed else "read_uncommitted"
        reader = consumer(settings, client_id, isolation_level=isolation)
        started.push_async_callback(reader.stop)
        await connect(reader)
        yield Offsets(admin, reader)


async def read_snapshot(
    kafka: Offsets, topology: Topology, rows: FindRows, answer_seconds: float | None = None
) -> PipelineSnapshot:
    """Read all positions of a generation in the order that `PipelineSnapshot` promises.

    TimeoutError when one answer of Kafka takes more than `answer_seconds`.
    """

    async def in_time(answer: Awaitable[T]) -> T:
        async with asyncio.timeout(answer_seconds):
            return await answer

    async def stored(topics: list[str]) -> dict[Partition, int]:
        found = await rows(stored_positions(topics))
        return {(row["topic"], row["partition"]): row["position"] for row in found}

    at = datetime.fromtimestamp(time.time(), UTC)
    events, states = topology.events.name, topology.state.name
    letters = [topic.name for topic in (topology.events_dlq, topology.state_dlq)]
    partitions = await in_time(kafka.partitions([events, states, *letters]))
    logged = await in_time(kafka.ends(_of(partitions, events)))
    merged = await in_time(kafka.committed(topology.merger_group))
    ends = await in_time(kafka.ends(_of(partitions, states)))
    stored_offsets = await stored([events, states])
    letter_ends = await in_time(kafka.ends(_of(partitions, *letters)))
    stored_letters = await stored(letters)
    return PipelineSnapshot(
        at=at,
        logged=by_number(logged, events),
        merged=by_number(merged, events),
        states=by_number(ends, states),
        stored_states=by_number(stored_offsets, states),
        stored_events=by_number(stored_offsets, events),
        letters={topic: end for (topic, _), end in letter_ends.items()},
        stored_letters={topic: position for (topic, _), position in stored_letters.items()},
        generation=topology.generation,
    )


def by_number(offsets: Mapping[Partition, int], topic: str) -> dict[int, int]:
    """Return the offsets of one topic, by the partition's number."""
    return {number: offset for (name, number), offset in offsets.items() if name == topic}


def _of(partitions: Iterable[Partition], *topics: str) -> list[Partition]:
    return [partition for partition in partitions if partition[0] in topics]
