"""Finds the topics that a table is rebuilt from, and the offsets that they hold now."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import Topic, Topology
from services.operations.errors import kafka_unreachable
from services.operations.exits import CommandError
from services.operations.rebuild.core.scope import Place, RebuildScope, RebuildTable, TopicRange, topic_range
from services.pipeline.core.continuity import Recorded
from services.pipeline.offsets import Offsets, offsets
from services.pipeline.survey import admin, cluster_id
from services.runtime.kafka.clients import connect, consumer
from services.runtime.settings import KafkaSettings
from services.sink.core.routes import SinkRoute, routes

CLIENT = "afterword-rebuild"
FAILURES = (KafkaError, OSError, TimeoutError)


@dataclass(frozen=True)
class RouteTopics:
    """A generation of a route's topics that the log still has."""

    route: SinkRoute
    topics: tuple[Topic, ...]


class RebuildLog:
    """The log of the recorded generations.  UnreachableError when Kafka does not answer."""

    def __init__(self, settings: KafkaSettings, known: Offsets, generations: Sequence[int]) -> None:
        self.settings, self._known = settings, known
        self.generations = tuple(generations)
        """Those whose cluster this is, ascending."""

    async def sources(self, kind: RebuildTable) -> list[RouteTopics]:
        """Return the sources of a table's rows; those that no longer exist are skipped."""
        ways = [
            route
            for generation in self.generations
            for route in routes(Topology(generation))
            if route.name == kind.route
        ]
        there = {name for name, _ in await self.places([topic for way in ways for topic in way.topics])}
        found = [RouteTopics(way, tuple(one for one in way.topics if one.name in there)) for way in ways]
        return [source for source in found if source.topics]

    async def places(self, topics: Iterable[Topic]) -> list[Place]:
        """Return the partitions of those topics that exist."""
        try:
            return await self._known.partitions([topic.name for topic in topics])
        except FAILURES as error:
            raise kafka_unreachable(self.settings) from error

    async def ranges(self, sources: Sequence[RouteTopics]) -> list[TopicRange]:
        """Return what each topic holds now, open transactions left out."""
        return [await self.whole(topic) for source in sources for topic in source.topics]

    async def whole(self, topic: Topic) -> TopicRange:
        """Return what one topic holds now."""
        places = await self.places([topic])
        try:
            starts, ends = await self._known.starts(places), await self._known.ends(places)
        except FAILURES as error:
            raise kafka_unreachable(self.settings) from error
        return topic_range(topic.name, topic.generation, starts, ends)

    async def committed(self, group: str) -> dict[Place, int]:
        """Return what a consumer group has committed."""
        try:
            return await self._known.committed(group)
        except FAILURES as error:
            raise kafka_unreachable(self.settings) from error

    async def members(self, group: str) -> int:
        """Return how many consumers a group has."""
        try:
            return (await self._known.members([group])).get(group, 0)
        except FAILURES as error:
            raise kafka_unreachable(self.settings) from error

    async def timed(self, sources: Sequence[RouteTopics], scope: RebuildScope) -> list[TopicRange]:
        """Return the offsets of topics whose records were appended in a scope's time."""
        whole = await self.ranges(sources)
        try:
            return [
                TopicRange(
                    one.topic,
                    one.generation,
                    await self._at(one, scope.since, one.starts),
                    await self._at(one, scope.until, one.ends),
                )
                for one in whole
            ]
        except FAILURES as error:
            raise kafka_unreachable(self.settings) from error

    async def _at(
        self, one: TopicRange, moment: datetime | None, instead: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the first offset from a time on, or the end where there is none."""
        if moment is None:
            return instead
        milliseconds = int(moment.timestamp() * 1000)
        asked = {TopicPartition(one.topic, number): milliseconds for number in range(len(one.ends))}
        found = await _offsets_for_times(self.settings, asked)
        return tuple(
            one.ends[place.partition] if found.get(place) is None else found[place].offset for place in asked
        )


async def _offsets_for_times(
    settings: KafkaSettings, asked: Mapping[TopicPartition, int]
) -> Mapping[TopicPartition, Any]:
    asking = consumer(settings, CLIENT)
    try:
        await connect(asking)
        return dict(await asking.offsets_for_times(dict(asked)))
    finally:
        await asking.stop()


@asynccontextmanager
async def log(settings: KafkaSettings, recorded: Sequence[Recorded]) -> AsyncIterator[RebuildLog]:
    """Connect for the block; CommandError when this is not the Kafka that the tables belong to."""
    try:
        async with admin(settings, CLIENT) as client:
            cluster = await cluster_id(client)
    except FAILURES as error:
        raise kafka_unreachable(settings) from error
    own = [one.generation for one in recorded if one.cluster_id == cluster]
    if settings.kafka_topic_generation not in own:
        raise CommandError(
            f"Kafka at {settings.kafka_bootstrap_servers} is not the one that these tables belong to (cluster"
            f" {cluster}, generation {settings.kafka_topic_generation}): is KAFKA_BOOTSTRAP_SERVERS right,"
            " and KAFKA_TOPIC_GENERATION?  `afterword migrate` explains more."
        )
    try:
        async with offsets(settings, CLIENT, committed=True) as known:
            yield RebuildLog(settings, known, sorted(own))
    except KafkaError as error:
        raise kafka_unreachable(settings) from error
