"""Reads ranges of offsets without a group: committed records only, in bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from schemas.limits import MIB
from schemas.topics import Topic
from services.runtime.kafka.clients import connect, reader
from services.runtime.settings import KafkaSettings

_POLL_MS = 500
_FETCH_BYTES = 8 * MIB
PATIENCE_SECONDS = 30.0
"""How long the log may yield nothing before KafkaTimeoutError."""


@dataclass(frozen=True)
class OffsetRange:
    """Offsets of a partition from `start` to before `end`."""

    topic: str
    partition: int
    start: int
    end: int


class ReadRecords(NamedTuple):
    """Some consecutive records of a partition, and the offset behind them.

    `records` may be empty, and may leave offsets out: those of transactions, and of what was compacted.
    """

    topic: str
    partition: int
    records: Sequence[Any]
    position: int


async def read(
    settings: KafkaSettings, client_id: str, topics: Sequence[Topic], stretches: Iterable[OffsetRange]
) -> AsyncIterator[ReadRecords]:
    """Yield the records of all ranges, each partition in its order, partitions mixed.

    `topics` are those that the ranges name.  Of a range that begins before its log, the rest is yielded.
    KafkaError when Kafka does not answer.
    """
    left = {
        TopicPartition(stretch.topic, stretch.partition): stretch
        for stretch in stretches
        if stretch.start < stretch.end
    }
    if not left:
        return
    async with _consumer(settings, client_id, topics, left) as consumer:
        async for one in _until_done(consumer, left):
            yield one


@asynccontextmanager
async def _consumer(
    settings: KafkaSettings, client_id: str, topics: Sequence[Topic], left: dict[TopicPartition, OffsetRange]
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = reader(settings, client_id, topics, fetch_max_bytes=_FETCH_BYTES)
    consumer.assign(list(left))
    try:
        await connect(consumer)
        starts = await consumer.beginning_offsets(list(left))
        for place, stretch in left.items():
            consumer.seek(place, max(stretch.start, starts[place]))
        yield consumer
    finally:
        await consumer.stop()


async def _until_done(
    consumer: AIOKafkaConsumer, stretches: dict[TopicPartition, OffsetRange]
) -> AsyncIterator[ReadRecords]:
    clock = asyncio.get_running_loop().time
    left, moved_at, positions = dict(stretches), clock(), dict[TopicPartition, int]()
    while left:
        # No more than is asked for: the rest of a fetch would be decoded, and dropped.
        most = sum(one.end - one.start for one in left.values())
        found = await consumer.getmany(*left, timeout_ms=_POLL_MS, max_records=most)
        for place, stretch in list(left.items()):
            position = await consumer.position(place)
            if positions.get(place) != position:
                positions[place], moved_at = position, clock()
            records = [one for one in found.get(place, ()) if one.offset < stretch.end]
            if position >= stretch.end:
                del left[place]
                consumer.pause(place)
            if records or place not in left:
                yield ReadRecords(place.topic, place.partition, records, min(position, stretch.end))
        if clock() - moved_at > PATIENCE_SECONDS:
            raise KafkaTimeoutError(f"no record for {PATIENCE_SECONDS:.0f} s; waiting for {list(left)}")
