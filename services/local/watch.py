"""Reads from Kafka and ClickHouse how far the pipeline is."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import DEAD_LETTERS_ROUTE, EVENTS_ROUTE, STATE_ROUTE, Topic, Topology
from services.local.flow import Flow, Offsets, Stage, stage
from services.local.settings import StatusSettings
from services.runtime.kafka import client_options, consumer_options

_CLIENT = "afterword-status"
_NO_COMMIT = -1


def readers(topology: Topology) -> tuple[tuple[str, str, tuple[Topic, ...]], ...]:
    """Return each stage that reads the log: its name, its consumer group, its topics."""
    return (
        ("merger", topology.merger_group, (topology.events,)),
        ("sink-state", topology.sink_group(STATE_ROUTE), (topology.state,)),
        ("sink-events", topology.sink_group(EVENTS_ROUTE), (topology.events,)),
        ("sink-dlq", topology.sink_group(DEAD_LETTERS_ROUTE), (topology.events_dlq, topology.state_dlq)),
    )


class Log:
    """Kafka, asked how far everyone is.  KafkaError when it does not answer."""

    def __init__(self, topology: Topology, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        self._topology, self._admin, self._consumer = topology, admin, consumer

    async def flow(self) -> Flow:
        """Return how far the stages are now, without what only ClickHouse knows."""
        places = await self._places()
        begins = await self._consumer.beginning_offsets(places)
        ends = await self._consumer.end_offsets(places)
        stages = [await self._stage(*reader, begins, ends) for reader in readers(self._topology)]
        events = sum(end for place, end in ends.items() if place.topic == self._topology.events.name)
        return Flow(at=time.monotonic(), events=events, stages=tuple(stages))

    async def _places(self) -> list[TopicPartition]:
        """Return every partition of the topics that exist."""
        names = [topic.name for topic in self._topology.topics]
        described = await self._admin.describe_topics(names)
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]

    async def _stage(
        self, name: str, group: str, topics: Sequence[Topic], begins: Offsets, ends: Offsets
    ) -> Stage:
        names = {topic.name for topic in topics}
        offsets = await self._admin.list_consumer_group_offsets(group)
        committed = {place: entry.offset for place, entry in offsets.items() if entry.offset != _NO_COMMIT}
        own = {place: end for place, end in ends.items() if place[0] in names}
        return stage(name, begins=begins, ends=own, committed=committed)


@asynccontextmanager
async def log(settings: StatusSettings) -> AsyncIterator[Log]:
    """Connect to Kafka for the block."""
    topology = Topology(settings.kafka_topic_generation)
    admin = AIOKafkaAdminClient(**client_options(settings, _CLIENT))
    async with AsyncExitStack() as started:
        started.push_async_callback(admin.close)
        await admin.start()
        consumer = AIOKafkaConsumer(**consumer_options(settings, _CLIENT, topology.topics))
        started.push_async_callback(consumer.stop)
        await consumer.start()
        yield Log(topology, admin, consumer)
