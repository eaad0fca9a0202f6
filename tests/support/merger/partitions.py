"""Topics, records and partitions for tests of the merger on a real Kafka."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import ConsumerRecord

from schemas.deadletters import DeadLetter, parse_headers
from schemas.identity import event_key, partition_of
from schemas.topics import Topic, Topology
from services.merger.context import Setup
from services.merger.directory import Directory
from services.merger.partition import OwnedPartition
from services.merger.settings import MergerSettings
from services.merger.startup_check import prepare
from services.pipeline.survey import admin, log_ranges
from services.runtime.kafka.clients import client_options, consumer_options
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually
from tests.support.merger.records import ARecord
from tests.support.oracles.merge import Oracle

NOWHERE = "http://127.0.0.1:1"
"""A ClickHouse that does not answer: the merger needs none."""


def merger_settings(kafka: KafkaSettings, home: Path, **changes: Any) -> MergerSettings:
    """Return settings of a merger with a directory of its own."""
    return MergerSettings(
        **{
            "kafka_bootstrap_servers": kafka.kafka_bootstrap_servers,
            "kafka_topic_generation": kafka.kafka_topic_generation,
            "clickhouse_url": NOWHERE,
            "afterword_home": home,
            "merger_metrics_port": 0,
            "merger_session_seconds": 6.0,
            **changes,
        }
    )


def ids_in(partition: int, partitions: int = 4, tenant: str = "default") -> Iterable[str]:
    """Yield request ids that live in a partition, for ever."""
    for number in count():
        if partition_of(event_key(tenant, f"r{number}"), partitions) == partition:
            yield f"r{number}"


R1, R2, R3 = islice(ids_in(0), 3)
"""Request ids in partition 0."""


class Scene:
    """Four topics on the shared Kafka, and mergers of partition 0 of them."""

    def __init__(self, kafka: KafkaSettings, home: Path) -> None:
        self.kafka, self.home = kafka, home
        self.topology = Topology(kafka.kafka_topic_generation)
        self._opened: list[OwnedPartition] = []
        self._directories: list[Directory] = []

    async def setup(self, instance: int = 1, **changes: Any) -> Setup:
        """Return what a merger process with such settings works with; each needs an instance of its own."""
        settings = merger_settings(self.kafka, self.home, merger_instance=instance, **changes)
        directory = Directory(self.home, instance, self.topology.generation)
        self._directories.append(directory)
        return await prepare(settings, directory)

    async def open(self, setup: Setup | None = None, number: int = 0) -> OwnedPartition:
        """Open a partition."""
        partition = await OwnedPartition.open(setup or await self.setup(), number)
        self._opened.append(partition)
        return partition

    async def end(self, partition: OwnedPartition) -> None:
        """End whatever a partition holds on this machine, committing nothing."""
        self._opened.remove(partition)
        await partition.close()

    def release(self) -> None:
        """Let other processes have the directories."""
        while self._directories:
            self._directories.pop().close()

    async def close(self) -> None:
        """End everything."""
        for partition in self._opened:
            await partition.close()
        self.release()

    async def publish(self, records: Iterable[ARecord], partition: int = 0) -> list[ConsumerRecord]:
        """Append records to a partition of the events, and return that partition as consumers see it."""
        producer = AIOKafkaProducer(
            **client_options(self.kafka, "tests"), enable_idempotence=True, max_request_size=1 << 20
        )
        await producer.start()
        try:
            sent = [
                await producer.send(
                    self.topology.events.name,
                    record.value,
                    record.key,
                    partition=partition,
                    headers=list(record.headers),
                )
                for record in records
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()
        return await self.events(partition)

    async def events(self, partition: int = 0) -> list[ConsumerRecord]:
        """Return the records of a partition of the events."""
        return await read_committed(self.kafka, self.topology.events, partition)

    async def rows(self, partition: int = 0) -> dict[bytes, bytes | None]:
        """Return the last committed value of each key in a partition of the state; None is a tombstone."""
        records = await read_committed(self.kafka, self.topology.state, partition)
        return {record.key: record.value for record in records}

    async def letters(self) -> list[DeadLetter]:
        """Return what the committed dead letters say."""
        records = await read_committed(self.kafka, self.topology.events_dlq)
        return [parse_headers(record.headers) for record in records]

    async def committed(self) -> int | None:
        """Return the merger group's position in partition 0."""
        return await committed(self.kafka, self.topology, 0)


async def read_committed(kafka: KafkaSettings, topic: Topic, partition: int = 0) -> list[ConsumerRecord]:
    """Return the committed records of a partition, up to its end as it is now.

    A commit returns before readers see its records, so this waits for transactions that are about to end.
    """
    place = TopicPartition(topic.name, partition)
    consumer = AIOKafkaConsumer(**consumer_options(kafka, "tests", [topic]))
    consumer.assign([place])
    await consumer.start()
    try:
        found: list[ConsumerRecord] = []
        end = (await log_ranges(kafka, "tests", {topic.name: partition + 1}))[topic.name, partition].end
        while await consumer.position(place) < end:
            found += (await consumer.getmany(place, timeout_ms=200)).get(place, [])
        return found
    finally:
        await consumer.stop()


async def committed(kafka: KafkaSettings, topology: Topology, partition: int) -> int | None:
    """Return the merger group's position in a partition of the events."""
    consumer = AIOKafkaConsumer(
        **client_options(kafka, "tests"), group_id=topology.merger_group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topology.events.name, partition))
        return offset
    finally:
        await consumer.stop()


def truth_of(topology: Topology, records: Sequence[ConsumerRecord]) -> Oracle:
    """Return what a partition's records must come to."""
    truth = Oracle(topology.generation)
    for record in records:
        truth.read(record)
    return truth


async def configure(kafka: KafkaSettings, topic: Topic, **changes: str) -> None:
    """Change settings of a topic, and wait until the broker knows; dots in names are underscores here."""
    wanted = topic.config() | {name.replace("_", "."): value for name, value in changes.items()}
    async with admin(kafka, "tests") as client:

        async def is_known() -> bool:
            (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
            found = {entry[0]: entry[1] for *_, entries in answer.resources for entry in entries}
            return wanted.items() <= found.items()

        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, wanted)])
        await eventually(is_known)


async def delete_before(kafka: KafkaSettings, topic: Topic, offset: int) -> None:
    """Delete the records of partition 0 below an offset, as retention would."""
    place = TopicPartition(topic.name, 0)
    async with admin(kafka, "tests") as client:
        await client.delete_records({place: RecordsToDelete(before_offset=offset)})


async def commit(kafka: KafkaSettings, topology: Topology, offset: int, mark: str = "") -> None:
    """Commit a position for the merger's group in partition 0, as no merger would."""
    place = TopicPartition(topology.events.name, 0)
    consumer = AIOKafkaConsumer(
        **client_options(kafka, "tests"), group_id=topology.merger_group, enable_auto_commit=False
    )
    consumer.assign([place])
    await consumer.start()
    try:
        await consumer.commit({place: (offset, mark)})
    finally:
        await consumer.stop()


async def delete_topic(kafka: KafkaSettings, topic: Topic) -> None:
    """Delete a topic, and wait until it is gone."""
    async with admin(kafka, "tests") as client:

        async def is_gone() -> bool:
            return topic.name not in await client.list_topics()

        await client.delete_topics([topic.name])
        await eventually(is_gone)


async def create_topic(kafka: KafkaSettings, topic: Topic, partitions: int) -> None:
    """Create a topic with its settings."""
    async with admin(kafka, "tests") as client:
        new = NewTopic(topic.name, partitions, 1, topic_configs=topic.config())

        async def is_made() -> bool:
            (answer,) = (await client.create_topics([new])).topic_errors
            return bool(answer[1] == 0)

        await eventually(is_made)
