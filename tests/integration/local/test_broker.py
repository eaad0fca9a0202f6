"""The local stack's Kafka, for real."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from schemas.topics import Topology
from services.local.broker import prepare
from services.local.jars import fetch, kafka_jars
from services.runtime.kafka.clients import client_options, consumer_options
from services.runtime.settings import KafkaSettings
from tests.support.kafka.topics import create_topics
from tests.support.stack.local_servers import OwnKafka


async def _produce(settings: KafkaSettings, topic: str, value: bytes) -> int:
    producer = AIOKafkaProducer(**client_options(settings, "test"), acks="all")
    await producer.start()
    try:
        sent = await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()
    return int(sent.offset)


async def _read(settings: KafkaSettings, topology: Topology, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(**consumer_options(settings, "test", topology.topics))
    await consumer.start()
    consumer.assign([TopicPartition(topology.events.name, 0)])
    try:
        async with asyncio.timeout(60):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_record_comes_back(kafka_settings: KafkaSettings, topology: Topology) -> None:
    """What was acknowledged can be read, on topics with their designed settings."""
    await _produce(kafka_settings, topology.events.name, b"kept")

    assert await _read(kafka_settings, topology, 1) == [b"kept"]


async def test_a_killed_broker_continues_with_its_records_and_offsets(own_kafka: OwnKafka) -> None:
    """SIGKILL and a start lose nothing that was acknowledged, and offsets continue."""
    topology = Topology()
    await create_topics(own_kafka.settings, topology)
    before = await _produce(own_kafka.settings, topology.events.name, b"before")
    await own_kafka.kill()
    await own_kafka.start()
    after = await _produce(own_kafka.settings, topology.events.name, b"after")

    assert before + 1 == after
    assert await _read(own_kafka.settings, topology, 2) == [b"before", b"after"]


def test_a_data_directory_is_formatted_once_and_whole(tmp_path: Path) -> None:
    """An interrupted attempt does not count, and a later start keeps the cluster id."""
    jars = fetch(kafka_jars(), tmp_path / "jars")
    (tmp_path / "data.formatting").mkdir()
    (tmp_path / "data.formatting" / "meta.properties").write_text("half of it")
    prepare(tmp_path, jars, 9092)
    made = (tmp_path / "data" / "meta.properties").read_text()
    prepare(tmp_path, jars, 9092)

    assert "cluster.id=" in made
    assert (tmp_path / "data" / "meta.properties").read_text() == made
    assert not (tmp_path / "data.formatting").exists()


async def test_no_topic_comes_into_being_by_itself(kafka_settings: KafkaSettings) -> None:
    """A name with a typing error is an error, not a new topic."""
    consumer = AIOKafkaConsumer(**client_options(kafka_settings, "test"))
    await consumer.start()
    try:
        assert "feedback-evnts" not in await consumer.topics()
        with pytest.raises((UnknownTopicOrPartitionError, asyncio.TimeoutError)):
            await asyncio.wait_for(_produce(kafka_settings, "feedback-evnts", b"x"), 2)
        assert "feedback-evnts" not in await consumer.topics()
    finally:
        await consumer.stop()
