"""The publisher on a real Kafka, held against what every log must do, and against what Kafka does to it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection

from schemas.identity import event_key, partition_of
from schemas.limits import MAX_EVENT_BYTES, MIB
from schemas.topics import Topology
from services.ingest.event_log import LogUnavailable, Overloaded
from services.ingest.publisher import Publisher
from services.runtime.settings import KafkaSettings
from tests.integration.ingest.conftest import settings_for
from tests.support.eventually import eventually
from tests.support.ingest.log_contract import LogContract, Reading
from tests.support.kafka.topic_reader import read_topic


@pytest.fixture
async def log(kafka_settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Publisher]:
    """A publisher that is ready, on topics of its own."""
    publisher = Publisher(settings_for(kafka_settings, tmp_path))
    publisher.start()
    await eventually(lambda: publisher.readiness() is None, within=60)
    yield publisher
    await publisher.stop(grace=5)


@pytest.fixture
def reading(kafka_settings: KafkaSettings, topology: Topology) -> Reading:
    """What Kafka holds."""

    async def read() -> list[list[tuple[bytes, bytes]]]:
        partitions = await read_topic(kafka_settings, topology.events.name)
        return [[(record.key, record.value) for record in partition] for partition in partitions]

    return read


class TestPublisher(LogContract):
    """The suite is the same as for the log in memory."""


async def test_an_event_is_written_once_and_by_every_replica_in_sync(log: Publisher) -> None:
    """What no single broker can show: the producer asks for all acknowledgements, and numbers its batches."""
    assert log._producer is not None
    producer = log._producer.kafka_producer

    assert producer._sender._acks == -1
    assert producer._txn_manager.has_pid()
    assert producer._txn_manager.transactional_id is None


async def test_the_largest_event_and_a_normal_one_after_it(log: Publisher, reading: Reading) -> None:
    """To the same partition, with the longest key; and several that do not fit into one batch."""
    key = event_key("t" * 63, "🙂" * 256)
    sizes = [MAX_EVENT_BYTES, 2, MAX_EVENT_BYTES, MAX_EVENT_BYTES, 2]
    offsets = await asyncio.gather(*(log.publish(key, b"x" * size) for size in sizes))
    partition = (await reading())[partition_of(key, 4)]

    assert offsets == [0, 1, 2, 3, 4]
    assert [len(value) for _, value in partition] == sizes
    assert log.inflight_bytes == 0


async def test_a_batch_that_kafka_refuses_costs_one_producer_and_no_more(
    log: Publisher, reading: Reading
) -> None:
    """A producer is never used again after a failed batch: its sequence numbers are wrong for ever.

    A record over the topic's limit stands for whatever Kafka may refuse; ingest rejects those.
    """
    key = event_key("t", "r")
    assert await log.publish(key, b"before") == 0
    epoch = log.epoch

    with pytest.raises(LogUnavailable):
        await log.publish(key, b"x" * 2 * MIB)
    assert log.epoch > epoch
    assert log.inflight_bytes == 0
    await eventually(lambda: log.readiness() is None, within=60)
    assert [await log.publish(key, b"after"), await log.publish(key, b"again")] == [1, 2]
    assert [value for _, value in (await reading())[partition_of(key, 4)]] == [b"before", b"after", b"again"]
    assert log.liveness() is None


async def test_what_was_queued_behind_a_failed_batch_is_certainly_not_written(
    log: Publisher, reading: Reading
) -> None:
    """Its senders are told so, and may send it again without a second thought."""
    key = event_key("t", "r")
    refused = log.publish(key, b"x" * 2 * MIB)
    queued = [log.publish(key, b"%d" % number) for number in range(3)]
    results = await asyncio.gather(refused, *queued, return_exceptions=True)

    assert all(isinstance(result, LogUnavailable) for result in results)
    assert [result.unknown for result in results if isinstance(result, LogUnavailable)] == [
        True,
        False,
        False,
        False,
    ]
    assert (await reading())[partition_of(key, 4)] == []


async def test_beyond_the_bound_events_are_refused_at_once(
    kafka_settings: KafkaSettings, tmp_path: Path, reading: Reading
) -> None:
    """And never queued; the bytes are free again when Kafka has answered."""
    publisher = Publisher(settings_for(kafka_settings, tmp_path, ingest_max_inflight_bytes=MIB))
    publisher.start()
    await eventually(lambda: publisher.readiness() is None, within=60)
    key = event_key("t", "r")
    taken = [publisher.publish(key, b"x" * 250_000) for _ in range(3)]
    with pytest.raises(Overloaded):
        publisher.publish(key, b"y" * 250_000)

    assert await asyncio.gather(*taken) == [0, 1, 2]
    assert publisher.inflight_bytes == 0
    assert await publisher.publish(key, b"z") == 3
    await publisher.stop(grace=5)
    assert {value[:1] for _, value in (await reading())[partition_of(key, 4)]} == {b"x", b"z"}


async def test_stopping_waits_for_kafkas_answers(
    kafka_settings: KafkaSettings, tmp_path: Path, reading: Reading
) -> None:
    """What was taken is written, what comes later is refused."""
    publisher = Publisher(settings_for(kafka_settings, tmp_path))
    publisher.start()
    await eventually(lambda: publisher.readiness() is None, within=60)
    taken = [publisher.publish(event_key("t", f"r{number}"), b"{}") for number in range(50)]
    await publisher.stop(grace=10)

    assert all(future.result() >= 0 for future in taken)
    assert sum(map(len, await reading())) == 50
    with pytest.raises(LogUnavailable):
        publisher.publish(event_key("t", "r"), b"{}")
    assert publisher.readiness() == "stopping"


async def test_a_topic_that_does_not_exist_is_waited_for(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Readiness says what makes it; nothing makes it by asking."""
    publisher = Publisher(settings_for(kafka.replace(kafka_topic_generation=65_000), tmp_path))
    publisher.start()
    await eventually(lambda: "afterword migrate" in (publisher.readiness() or ""), within=60)
    with pytest.raises(LogUnavailable) as refused:
        publisher.publish(b"t/r", b"{}")

    assert not refused.value.unknown
    assert publisher.liveness() is None
    await publisher.stop(grace=0)


def test_the_names_of_aiokafka_that_ending_a_producer_needs() -> None:
    """They are private; an upgrade that renames them must be noticed."""
    from aiokafka.producer.sender import Sender  # noqa: PLC0415

    assert isinstance(Sender.sender_task, property)
    assert "_sender" in AIOKafkaProducer.__init__.__code__.co_names


async def test_ending_while_it_connects_leaves_no_connection_open(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """Whatever it had begun by then: aiokafka itself forgets a connection whose making is cancelled."""
    before = {id(connection) for connection in _open_connections()}
    for milliseconds in range(40):
        publisher = Publisher(settings_for(kafka_settings, tmp_path))
        publisher.start()
        await asyncio.sleep(milliseconds / 2_000)
        await publisher.stop(grace=0)

    assert [connection for connection in _open_connections() if id(connection) not in before] == []


def _open_connections() -> list[AIOKafkaConnection]:
    return [one for one in gc.get_objects() if isinstance(one, AIOKafkaConnection) and one.connected()]
