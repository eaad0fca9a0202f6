"""One round's work: a topic full of events, and what any contender's result is held against."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from bench.events import published
from bench.filling import fill
from bench.merger.truth import Fields, faults, fold, latest
from bench.stages import PARTITIONS, Stack
from schemas.topics import Topology
from services.pipeline.survey import admin
from services.runtime.settings import KafkaSettings
from tests.support.kafka.topics import delete_topics

CLIENT = "bench"
CONTENDERS = "bench-"
"""Begins the names of the topics that contenders other than the merger use."""
_NO_COORDINATOR_YET = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


class WrongResult(Exception):  # noqa: N818 (it names what happened)
    """A contender's states differ from what its events yield."""


@dataclass
class Task:
    """The topics of a generation, so many events in them, and an empty directory."""

    kafka: KafkaSettings
    home: Path
    events: int
    _truth: dict[bytes, Fields] = field(default_factory=dict)
    """Of all events, once it was needed."""

    @property
    def topology(self) -> Topology:
        """The names of the topics."""
        return Topology(self.kafka.kafka_topic_generation)

    async def fill(self) -> None:
        """Write the events, which takes as much of the processor as some contenders do."""
        await fill(self.kafka, self.topology.events.name, published(self.events), PARTITIONS, linger_ms=5)

    async def committed(self, client: AIOKafkaAdminClient, group: str) -> dict[int, int]:
        """Return up to where a group has committed each partition of the events, 0 where it has not."""
        places = [TopicPartition(self.topology.events.name, number) for number in range(PARTITIONS)]
        try:
            found = await client.list_consumer_group_offsets(group, partitions=places)
        except _NO_COORDINATOR_YET:
            found = {}
        return {place.partition: max(0, found[place].offset) if place in found else 0 for place in places}

    async def verify(self, group: str, output: str, read: Callable[[bytes], Fields], least: int) -> None:
        """Hold what a group has written to a topic against a fold of the events; WrongResult.

        It must have committed at least so many events.
        """
        async with admin(self.kafka, CLIENT) as client:
            upto = await self.committed(client, group)
        if sum(upto.values()) < least:
            raise WrongResult(f"{group}: {sum(upto.values()):,} events committed, and not {least:,}")
        found = {key: read(value) for key, value in (await latest(self.kafka, output)).items()}
        wrong = faults(await self._expected(upto, found), found)
        if wrong:
            raise WrongResult(f"{group}: {len(wrong):,} of {len(found):,} states are wrong, as {wrong[0]}")

    async def _expected(self, upto: dict[int, int], found: dict[bytes, Fields]) -> dict[bytes, Fields]:
        if sum(upto.values()) < self.events:
            return await fold(self.kafka, upto, found)
        self._truth = self._truth or await fold(self.kafka, upto, {})
        return self._truth

    async def make_output(self, name: str) -> None:
        """Make a topic like that of the states."""
        settings = self.topology.state.config()
        async with admin(self.kafka, CLIENT) as client:
            await client.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=settings)])


@asynccontextmanager
async def task(stack: Stack, events: int) -> AsyncIterator[Task]:
    """Make topics full of events; they go with the block, and so do those of the contenders."""
    async with stack.topics() as kafka:
        with TemporaryDirectory(dir=stack.home) as home:
            made = Task(kafka, Path(home), events)
            await made.fill()
            yield made
        async with admin(kafka, CLIENT) as client:
            theirs = [name for name in await client.list_topics() if name.startswith(CONTENDERS)]
        await delete_topics(kafka, theirs)
