"""Stretches of a real log, read from outside."""

from aiokafka import AIOKafkaProducer

from schemas.topics import Topology
from services.runtime.kafka.clients import client_options
from services.runtime.kafka.log_reader import OffsetRange, read
from services.runtime.settings import KafkaSettings


async def _append(settings: KafkaSettings, topic: str, *batches: tuple[int, int, bool]) -> None:
    """Append (partition, count, committed) in a transaction each."""
    producer = AIOKafkaProducer(**client_options(settings, "tests"), transactional_id=f"reading-{topic}")
    await producer.start()
    try:
        for partition, count, committed in batches:
            await producer.begin_transaction()
            for number in range(count):
                await producer.send_and_wait(topic, b"%d" % number, key=b"t/%d" % number, partition=partition)
            await (producer.commit_transaction() if committed else producer.abort_transaction())
    finally:
        await producer.stop()


async def _read(settings: KafkaSettings, topology: Topology, *stretches: OffsetRange) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    async for one in read(settings, "tests", [topology.state], stretches):
        found.setdefault(one.partition, []).extend(record.offset for record in one.records)
    return found


async def test_stretches_are_read_to_their_ends_and_no_further(
    kafka_settings: KafkaSettings, topology: Topology
) -> None:
    """Transaction markers at an end are passed, and what was rolled back is left out."""
    name = topology.state.name
    await _append(kafka_settings, name, (0, 3, True), (1, 2, False), (1, 2, True), (0, 2, True))

    # 0: 0-2, marker 3, 4-5, marker 6.  1: 0-1 rolled back, marker 2, 3-4, marker 5.
    found = await _read(kafka_settings, topology, OffsetRange(name, 0, 1, 5), OffsetRange(name, 1, 0, 6))

    assert found == {0: [1, 2, 4], 1: [3, 4]}


async def test_nothing_is_asked_of_kafka_for_nothing(
    kafka_settings: KafkaSettings, topology: Topology
) -> None:
    """An empty stretch is over before it begins."""
    assert await _read(kafka_settings, topology, OffsetRange(topology.state.name, 0, 4, 4)) == {}
