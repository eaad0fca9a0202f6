"""Reads from Kafka how far the pipeline is."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas import topics
from schemas.topics import Topology
from services.local.core.flow import Flow, Offsets, StageProgress, stage
from services.local.settings import StatusSettings
from services.pipeline import offsets
from services.pipeline.core.generation_states import in_use

_CLIENT = "afterword-status"


class Log:
    """Kafka, asked how far everyone is.  KafkaError when it does not answer."""

    def __init__(self, settings: StatusSettings, kafka: offsets.Offsets) -> None:
        self._settings, self._kafka = settings, kafka

    async def flow(self) -> Flow:
        """Return how far the stages are now, without what only ClickHouse knows."""
        topology = await self._topology()
        places = await self._kafka.partitions([topic.name for topic in topology.topics])
        begins = await self._kafka.starts(places)
        ends = await self._kafka.ends(places)
        stages = [await self._stage(one, begins, ends) for one in topology.stages]
        events = sum(end for (topic, _), end in ends.items() if topic == topology.events.name)
        return Flow(at=time.monotonic(), events=events, stages=tuple(stages))

    async def _topology(self) -> Topology:
        """Return the topics in use, which may be others each time."""
        if self._settings.is_generation_given:
            return Topology(self._settings.kafka_topic_generation)
        return Topology(in_use(await self._kafka.generations()))

    async def _stage(self, reader: topics.TopicStage, begins: Offsets, ends: Offsets) -> StageProgress:
        names = {topic.name for topic in reader.topics}
        committed = await self._kafka.committed(reader.group)
        own = {place: end for place, end in ends.items() if place[0] in names}
        return stage(reader.name, begins=begins, ends=own, committed=committed)


@asynccontextmanager
async def log(settings: StatusSettings) -> AsyncIterator[Log]:
    """Connect to Kafka for the block."""
    async with offsets.offsets(settings, _CLIENT, committed=True) as kafka:
        yield Log(settings, kafka)
