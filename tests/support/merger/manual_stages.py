"""A pipeline whose stages move by hand: its log is real, and the test is merger and sink."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.identity import event_key, partition_of, version_of
from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import Topic, Topology
from services.runtime.kafka.clients import client_options
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.clickhouse.tables import insert, state_row
from tests.support.merger.records import an_event_id
from tests.support.merger.state_log import ends, producer
from tests.support.stack.fixtures import PARTITIONS

AT = "2026-11-22T08:00:00.000001Z"


class Stages:
    """One request's way through four topics of this test's own."""

    def __init__(
        self, kafka: KafkaSettings, clickhouse: ClickHouseSettings, tenant: str, request_id: str = "r1"
    ) -> None:
        self.kafka, self.clickhouse = kafka, clickhouse
        self.topology = Topology(kafka.kafka_topic_generation)
        self.tenant, self.request_id = tenant, request_id
        self.key = event_key(tenant, request_id)
        self.partition = partition_of(self.key, PARTITIONS)

    def version(self, offset: int) -> int:
        """Return the version of an event at an offset."""
        return version_of(self.topology.generation, offset)

    async def log(self, count: int = 1) -> None:
        """Append events; what they say is for `store_event`."""
        async with producer(self.kafka, self.topology.events) as client:
            for _ in range(count):
                await client.send_and_wait(
                    self.topology.events.name, b"{}", self.key, partition=self.partition
                )

    async def merge(self, offset: int) -> None:
        """Commit the merger's position."""
        consumer = AIOKafkaConsumer(
            **client_options(self.kafka, "tests"),
            group_id=self.topology.merger_group,
            enable_auto_commit=False,
        )
        place = TopicPartition(self.topology.events.name, self.partition)
        consumer.assign([place])
        await consumer.start()
        try:
            await consumer.commit({place: offset})
        finally:
            await consumer.stop()

    async def write_state(self) -> None:
        """Append a state, committed."""
        async with self.open_transaction():
            pass

    @asynccontextmanager
    async def open_transaction(self) -> AsyncIterator[AIOKafkaProducer]:
        """Append a state in a transaction that is open as long as the block."""
        state = self.topology.state
        async with producer(self.kafka, state, transactional=True) as client, client.transaction():
            await client.send_and_wait(state.name, b"{}", self.key, partition=self.partition)
            yield client

    async def give_up(self) -> None:
        """Append a dead letter of the merger; what it says is for `store_letter`."""
        async with producer(self.kafka, self.topology.events_dlq) as client:
            await client.send_and_wait(self.topology.events_dlq.name, b"{}", self.key, partition=0)

    async def end_of(self, topic: Topic) -> int:
        """Return where the request's partition of a topic ends, markers included."""
        return (await ends(self.kafka, topic, PARTITIONS))[0 if topic.one_partition else self.partition]

    async def position(self, topic: Topic, offset: int | None = None) -> None:
        """Say that the sink has stored a topic's partition up to an offset, or up to its end."""
        offset = await self.end_of(topic) if offset is None else offset
        row = {
            "route": "any",
            "topic": topic.name,
            "partition": 0 if topic.one_partition else self.partition,
            "position": offset,
            "appended_at": AT,
        }
        await insert(self.clickhouse, SINK_POSITIONS, [row])

    async def store_row(self, offset: int, revision: int = 1, **fields: Any) -> None:
        """Store the row of the request as of the event at an offset."""
        row = state_row(self.request_id, revision, tenant=self.tenant, version=self.version(offset), **fields)
        await insert(self.clickhouse, FEEDBACK_STATE, [row])

    async def store_event(self, offset: int, number: int | None = None, **fields: Any) -> None:
        """Store the event at an offset; one with a `number` is idempotent, its id stands for that."""
        row = {
            "tenant": self.tenant,
            "request_id": self.request_id,
            "version": self.version(offset),
            "event_id": an_event_id(offset if number is None else number, idempotent=number is not None),
            "op": "merge",
            "source": "native",
            "received_at": AT,
            "appended_at": AT,
            "idempotent": number is not None,
            "log_partition": self.partition,
            "log_offset": self.version(offset),
            "data": {},
            "request": {},
            **fields,
        }
        await insert(self.clickhouse, FEEDBACK_EVENTS, [row])

    async def store_letter(self, offset: int, **fields: Any) -> None:
        """Store the dead letter of the event at an offset."""
        await insert(self.clickhouse, DEAD_LETTERS, [self.letter(offset, **fields)])

    def letter(self, offset: int, **fields: Any) -> dict[str, Any]:
        """Return a row of the table of dead letters: its offset there is the event's."""
        return {
            "dlq_topic": self.topology.events_dlq.name,
            "dlq_partition": 0,
            "dlq_offset": offset,
            "tenant": self.tenant,
            "request_id": self.request_id,
            "stage": "merger",
            "reason": "row_too_large",
            "detail": "too large",
            "original_topic": self.topology.events.name,
            "original_partition": self.partition,
            "original_offset": offset,
            "original_version": self.version(offset),
            "failed_at": AT,
            "key": self.key.decode(),
            "raw": "{}",
            "updated": AT,
            **fields,
        }

    async def pass_all(self) -> None:
        """Say that the sink has stored everything that there is."""
        for topic in self.topology.topics:
            await self.position(topic)
