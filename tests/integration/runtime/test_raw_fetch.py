"""Fetches that are handed on undecoded hold what aiokafka's own hold."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import Topology
from services.runtime.kafka.clients import client_options
from services.runtime.kafka.lenient_decoding import tolerate
from services.runtime.kafka.raw_fetch import Fetched, fetch_whole, in_pieces
from services.runtime.settings import KafkaSettings
from tests.support.kafka.foreign_headers import write_foreign


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
@pytest.mark.parametrize("first", [0, 4])
async def test_it_reads_what_aiokafka_reads(
    kafka_settings: KafkaSettings, topology: Topology, isolation: str, first: int
) -> None:
    """Transactions rolled back, control records, headers that are no text, a start inside a batch."""
    place = TopicPartition(topology.events.name, 0)
    for transaction in (None, True, False, True, None):
        await _write(kafka_settings, place, transaction=transaction)
    await write_foreign(kafka_settings, place.topic, 0, [(b"k", b"v", b"na\xffme"), (b"l", b"w", None)])
    tolerate()

    plain = await _read(kafka_settings, place, isolation, first, whole=False)
    for most in (1, 3, 1000):
        assert await _read(kafka_settings, place, isolation, first, whole=True, most=most) == plain
    assert len(plain) == (22 if isolation == "read_committed" else 27) - first


async def _write(settings: KafkaSettings, place: TopicPartition, *, transaction: bool | None) -> None:
    """Append five records: in a transaction that is committed, or rolled back, or in none."""
    name = None if transaction is None else f"{place.topic}-tests"
    producer = AIOKafkaProducer(**client_options(settings, "tests"), transactional_id=name, linger_ms=50)
    await producer.start()
    try:
        if name:
            await producer.begin_transaction()
        sent = [
            await producer.send(place.topic, b"%d" % number, b"key", place.partition, headers=[("a", b"b")])
            for number in range(5)
        ]
        await asyncio.gather(*sent)
        if name:
            await (producer.commit_transaction() if transaction else producer.abort_transaction())
    finally:
        await producer.stop()


async def _read(
    settings: KafkaSettings,
    place: TopicPartition,
    isolation: str,
    first: int,
    *,
    whole: bool,
    most: int = 1,
) -> list[Any]:
    consumer = AIOKafkaConsumer(
        **client_options(settings, "tests"), isolation_level=isolation, auto_offset_reset="earliest"
    )
    consumer.assign([place])
    await consumer.start()
    try:
        end = (await consumer.end_offsets([place]))[place]
        if whole:
            fetch_whole(consumer)
        consumer.seek(place, first)
        found: list[Any] = []
        while await consumer.position(place) < end:
            fetched = (await consumer.getmany(place, timeout_ms=200)).get(place, [])
            assert not fetched or isinstance(fetched, Fetched) == whole
            pieces = list(in_pieces(fetched, most))
            assert all(0 < len(piece) <= most for piece in pieces)
            found += _told(record for piece in pieces for record in piece)
        return found
    finally:
        await consumer.stop()


def _told(records: Iterable[Any]) -> list[Any]:
    return [
        (record.offset, record.timestamp, record.key, record.value, list(record.headers))
        for record in records
    ]
