"""Holes in what was delivered: asks the log what lies there."""

from collections.abc import Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import Topic
from services.merger.metrics import GAPS
from services.runtime.kafka.clients import connect, reader
from services.runtime.settings import KafkaSettings

log = structlog.get_logger()

_POLL_MS = 500


class EventsLost(Exception):  # noqa: N818 (it says what happened)
    """Events were deleted from the log before they were read; the text names the command that goes on."""


async def read_again(
    settings: KafkaSettings, topic: Topic, partition: int, missing: Iterable[tuple[int, int]]
) -> list[Any]:
    """Return the records that the log has in the missing stretches; EventsLost when one was deleted.

    Offsets without a record are ordinary: control records of a transaction, or compaction.
    """
    place = TopicPartition(topic.name, partition)
    consumer = reader(settings, "afterword-merger-gap", [topic])
    consumer.assign([place])
    try:
        await connect(consumer)
        found: list[Any] = []
        for start, end in missing:
            found += await _stretch(consumer, place, start, end)
        return found
    finally:
        await consumer.stop()


async def _stretch(consumer: AIOKafkaConsumer, place: TopicPartition, start: int, end: int) -> list[Any]:
    first = (await consumer.beginning_offsets([place]))[place]
    if start < first:
        raise EventsLost(
            f"offsets {start} to {first - 1} of {place.topic}/{place.partition} were deleted before they were"
            " read; run `afterword merger accept-loss` to go on without them"
        )
    consumer.seek(place, start)
    found: list[Any] = []
    while await consumer.position(place) < end:
        found += (await consumer.getmany(place, timeout_ms=_POLL_MS)).get(place, [])
    records = [record for record in found if record.offset < end]
    GAPS.labels("events" if records else "nothing").inc(end - start)
    log.warning("gap read again", partition=place.partition, start=start, end=end, records=len(records))
    return records
