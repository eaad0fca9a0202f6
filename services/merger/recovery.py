"""Recovers what a process lacks: position and rows of a partition, and events that were not delivered."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import MsgspecError

from schemas.identity import split_version
from schemas.topics import Topic
from services.merger.context import Setup
from services.merger.core import state as states
from services.merger.metrics import GAPS, RECOVERED
from services.merger.state_store import StateStore
from services.pipeline import survey
from services.pipeline.core.continuity import HeldPosition, LogRange, problems, refuse
from services.runtime.kafka.clients import connect, reader
from services.runtime.kafka.core.log_mark import LogMark, mark_of, newer
from services.runtime.kafka.raw_fetch import in_pieces
from services.runtime.settings import KafkaSettings

log = structlog.get_logger()

_POLL_MS = 500
_ROWS_AT_ONCE = 20_000


class Recovered(NamedTuple):
    """The rows, the offset of the next event to merge, and the group's committed offset.

    `mark` is of an event below the position, None if none is known.
    """

    store: StateStore
    position: int
    committed: int | None
    mark: LogMark | None


async def recover(setup: Setup, partition: int) -> Recovered:
    """Return the rows of a partition as of the state topic's end, and the offset of its next event.

    Call it after this process's producer has started: only then are both final.  ContinuityError if a
    position does not fit the log.
    """
    topology = setup.topology
    events, state = (TopicPartition(topic.name, partition) for topic in (topology.events, topology.state))
    async with _reader(setup, state) as consumer:
        store = StateStore(setup.directory.store(partition), setup.owner(partition))
        try:
            if is_stale(store, setup):
                log.warning("local copy was not updated for too long, reading it back", path=str(store.path))
                store.clear("stale")
            ranges = await _ranges(consumer, events, state)
            group = await survey.group_positions(consumer, topology.merger_group, [events])
            await _check(setup, partition, store, ranges, group)
            await _catch_up(setup, store, consumer, state, ranges[state])
            await _check(setup, partition, store, ranges, group)
        except BaseException:
            store.close()
            raise
    committed = group[0].offset if group else None
    position = _first_of(merged_before(store, committed), ranges[events].start)
    return Recovered(store, position, committed, newer(store.input_mark, *(one.mark for one in group)))


@asynccontextmanager
async def _reader(setup: Setup, state: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a connected consumer; the block may be cancelled anywhere."""
    name, topology = f"afterword-merger-recovery-{state.partition}", setup.topology
    consumer = reader(setup.settings, name, [topology.state], whole=True, group_id=topology.merger_group)
    consumer.assign([state])
    try:
        await connect(consumer)
        yield consumer
    finally:
        await consumer.stop()


def _first_of(*positions: int | None) -> int:
    return next(position for position in positions if position is not None)


def merged_before(store: StateStore, committed: int | None) -> int | None:
    """Return the higher of the two offsets before which every event was merged; None if neither is known.

    The group's offset and the rows were committed together, so both are true.  But after a crash a
    coordinator may return an older offset than it had acknowledged.  Rows skip events that they have read,
    but broken events would be dead-lettered a second time.
    """
    return max((known for known in (committed, store.input) if known is not None), default=None)


def is_stale(store: StateStore, setup: Setup) -> bool:
    """Return whether the copy may have missed a tombstone that the state topic no longer has."""
    return store.seen_at is not None and store.seen_at < setup.clock() - setup.tombstone_ms


async def _ranges(consumer: AIOKafkaConsumer, *places: TopicPartition) -> dict[TopicPartition, LogRange]:
    starts = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    return {place: LogRange(starts[place], ends[place]) for place in places}


async def _check(
    setup: Setup,
    partition: int,
    store: StateStore,
    ranges: dict[TopicPartition, LogRange],
    group: Sequence[HeldPosition],
) -> None:
    events = ranges[TopicPartition(setup.topology.events.name, partition)]
    held = [*held_positions(setup, partition, store, events), *group]
    log_now = {(place.topic, place.partition): log for place, log in ranges.items()}
    facts = replace(setup.facts, log={**setup.facts.log, **log_now}, positions=held, found={})
    refuse(problems(await survey.with_marks(setup.settings, f"afterword-merger-mark-{partition}", facts)))


def held_positions(setup: Setup, partition: int, store: StateStore, log_now: LogRange) -> list[HeldPosition]:
    """Return the positions of a local copy; `log_now` is the offset range of the events partition."""
    events, state = setup.topology.events.name, setup.topology.state.name
    held = []
    if store.position is not None:
        held.append(HeldPosition(f"stored in {store.path}", state, partition, store.position, store.mark))
    # Below the log's start it is meaningless: the group's offset counts.
    if store.input is not None and store.input >= log_now.start:
        held.append(
            HeldPosition(f"read by rows in {store.path}", events, partition, store.input, store.input_mark)
        )
    return held


async def _catch_up(
    setup: Setup, store: StateStore, consumer: AIOKafkaConsumer, state: TopicPartition, found: LogRange
) -> None:
    start = _first_of(store.position, found.start)
    consumer.seek(state, start)
    count = 0
    while await consumer.position(state) < found.end:
        fetched = (await consumer.getmany(state, timeout_ms=_POLL_MS)).get(state, [])
        for records in in_pieces(fetched, _ROWS_AT_ONCE):
            count += len(records)
            _take(setup, store, records)
    store.write({}, position=found.end, now=setup.clock())
    if count:
        log.info("rows read back", partition=state.partition, rows=count, start=start, end=found.end)


def _take(setup: Setup, store: StateStore, records: Sequence[Any]) -> None:
    # Plain tuples: making a `StoredRow` of each takes nine times as long.
    rows = {record.key: (record.value, record.timestamp) for record in records}
    store.write(
        rows,
        position=records[-1].offset + 1,
        now=setup.clock(),
        input_position=_input(setup, store, records),
        mark=mark_of(records[-1]),
    )
    RECOVERED.inc(len(records))
    setup.progressed()


def _input(setup: Setup, store: StateStore, records: Sequence[Any]) -> int | None:
    """Return an offset before which all events are merged into the rows.

    A row and the position of its batch were committed together, so every event before a row's newest one was
    read.  One row of each write is enough.
    """
    row = records[-1].value
    if row is None:
        return None
    try:
        generation, offset = split_version(states.decode(row).version)
    except MsgspecError:
        return None  # a damaged row, which the next event of its key detects
    return max(offset + 1, store.input or 0) if generation == setup.topology.generation else None


_POLL_MS = 500


class EventsLost(Exception):  # noqa: N818 (an event, not a fault)
    """Events were deleted from the log before they were read; the message names the command to skip them."""


async def read_again(
    settings: KafkaSettings, topic: Topic, partition: int, missing: Iterable[tuple[int, int]]
) -> list[Any]:
    """Return the records of the missing ranges; EventsLost if part of one was deleted.

    Offsets without a record are normal: control records of a transaction, or compaction.
    """
    tp = TopicPartition(topic.name, partition)
    consumer = reader(settings, "afterword-merger-gap", [topic])
    consumer.assign([tp])
    try:
        await connect(consumer)
        records: list[Any] = []
        for start, end in missing:
            records += await _range(consumer, tp, start, end)
        return records
    finally:
        await consumer.stop()


async def _range(consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int) -> list[Any]:
    first = (await consumer.beginning_offsets([tp]))[tp]
    if start < first:
        raise EventsLost(
            f"offsets {start} to {first - 1} of {tp.topic}/{tp.partition} were deleted before they were"
            " read; run `afterword merger accept-loss` to continue without them"
        )
    consumer.seek(tp, start)
    fetched: list[Any] = []
    while await consumer.position(tp) < end:
        fetched += (await consumer.getmany(tp, timeout_ms=_POLL_MS)).get(tp, [])
    records = [record for record in fetched if record.offset < end]
    GAPS.labels("events" if records else "nothing").inc(end - start)
    log.warning("gap read again", partition=tp.partition, start=start, end=end, records=len(records))
    return records
