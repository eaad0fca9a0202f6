"""What must come of the events: the latest value of each key of each request, worked out the plain way.

Shares nothing with any contender.  Whoever stopped in the midst of the log may have read further than it
committed, so a state counts as right when it is that of all events before the offset committed, or of all
before the newest event that is in it, whichever is later.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from bench.stages import PARTITIONS
from schemas.identity import split_version
from schemas.topics import Topology
from services.runtime.kafka.clients import consumer_options
from services.runtime.settings import KafkaSettings

Fields: TypeAlias = dict[str, tuple[Any, int]]
"""The value of each key, and the offset of the event that it came with."""

_FETCH_BYTES = 8 << 20


def of_row(row: bytes) -> Fields:
    """Return the fields of a row of the state topic."""
    state = orjson.loads(row)
    versions = state["merge"]["data"]
    older, newest = versions.get("older", {}), versions["newest"]
    return {key: (value, _offset(older.get(key, newest))) for key, value in state["data"].items()}


def of_state(state: bytes) -> Fields:
    """Return the fields of a state with `"key": [value, timestamp, offset]`."""
    return {key: (value, offset) for key, (value, _, offset) in orjson.loads(state).items()}


def _offset(version: int) -> int:
    return split_version(version)[1]


class Fault(NamedTuple):
    """A state that is wrong; None where there is none."""

    key: bytes
    expected: Fields | None
    found: Fields | None


def faults(expected: Mapping[bytes, Fields], found: Mapping[bytes, Fields]) -> list[Fault]:
    """Return what differs."""
    return [
        Fault(key, expected.get(key), found.get(key))
        for key in expected.keys() | found.keys()
        if expected.get(key) != found.get(key)
    ]


async def fold(
    kafka: KafkaSettings, committed: Mapping[int, int], found: Mapping[bytes, Fields]
) -> dict[bytes, Fields]:
    """Return the states of a log read up to the offsets committed, and beyond where a state shows that."""
    reached = {key: max(offset for _, offset in fields.values()) for key, fields in found.items()}
    states: dict[bytes, dict[str, tuple[tuple[int, int], Any]]] = {}
    last = max([*committed.values(), *(offset + 1 for offset in reached.values())])
    topic = Topology(kafka.kafka_topic_generation).events.name
    async for record in records(kafka, topic, last):
        key, offset = record.key, record.offset
        if offset < committed[record.partition] or offset <= reached.get(key, -1):
            _merge(states.setdefault(key, {}), record)
    return {
        key: {name: (value, version[1]) for name, (version, value) in state.items()}
        for key, state in states.items()
    }


def _merge(state: dict[str, tuple[tuple[int, int], Any]], record: ConsumerRecord) -> None:
    version = record.timestamp, record.offset
    for name, value in orjson.loads(record.value)["data"].items():
        if name not in state or state[name][0] <= version:
            state[name] = version, value


async def latest(kafka: KafkaSettings, topic: str) -> dict[bytes, bytes]:
    """Return the last value of each key in a topic, of those that were committed."""
    return {record.key: record.value async for record in records(kafka, topic)}


async def records(kafka: KafkaSettings, topic: str, last: int | None = None) -> AsyncIterator[ConsumerRecord]:
    """Yield the records of a topic, of each partition up to its end as it is now, or up to `last`."""
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    options = consumer_options(kafka, "bench", Topology(kafka.kafka_topic_generation).topics)
    consumer = AIOKafkaConsumer(**options, fetch_max_bytes=PARTITIONS * _FETCH_BYTES)
    consumer.assign(places)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(places)
        ends = {place: end if last is None else min(end, last) for place, end in ends.items()}
        while left := [place for place in places if await consumer.position(place) < ends[place]]:
            for fetched in (await consumer.getmany(*left, timeout_ms=500)).values():
                for record in fetched:
                    yield record
    finally:
        await consumer.stop()
