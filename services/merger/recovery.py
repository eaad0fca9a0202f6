"""Finds out where a partition stands, and brings its local copy up to date with the state topic."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import MsgspecError

from schemas.identity import split_version
from services.merger.context import Setup
from services.merger.core import state as states
from services.merger.metrics import RECOVERED
from services.merger.state_store import Store
from services.pipeline import survey
from services.pipeline.core.continuity import HeldPosition, LogRange, problems, refuse
from services.runtime.kafka.clients import connect, reader
from services.runtime.kafka.core.log_mark import LogMark, mark_of, newer
from services.runtime.kafka.raw_fetch import in_pieces

log = structlog.get_logger()

_POLL_MS = 500
_ROWS_AT_ONCE = 20_000


class Recovered(NamedTuple):
    """The rows, the offset of the next event to merge, and the one that the group says.

    `mark` is of an event below the position, None when none is known.
    """

    store: Store
    position: int
    committed: int | None
    mark: LogMark | None


async def recover(setup: Setup, partition: int) -> Recovered:
    """Return the rows of a partition as the state topic has them, and where its events go on.

    Call it after this process's producer has started: only then are both final.  ContinuityError when a
    position does not fit the log.
    """
    topology = setup.topology
    events, state = (TopicPartition(topic.name, partition) for topic in (topology.events, topology.state))
    async with _reader(setup, state) as consumer:
        store = Store(setup.directory.store(partition), setup.owner(partition))
        try:
            if is_stale(store, setup):
                log.warning("local copy was away for too long, building it anew", path=str(store.path))
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
    position = _first_of(vouched_for(store, committed), ranges[events].start)
    return Recovered(store, position, committed, newer(store.input_mark, *(one.mark for one in group)))


@asynccontextmanager
async def _reader(setup: Setup, state: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
    """Connect for the block, which may be cancelled anywhere."""
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


def vouched_for(store: Store, committed: int | None) -> int | None:
    """Return the offset before which every event was merged, by whoever knows more; None: nobody knows any.

    The group's position and the rows were committed together, so each is true.  But a coordinator may come
    back from a crash with an older position than it had acknowledged.  Rows know what they have read and
    would not care; broken events would become dead letters a second time.
    """
    return max((known for known in (committed, store.input) if known is not None), default=None)


def is_stale(store: Store, setup: Setup) -> bool:
    """Tell whether a tombstone may have come and gone while nobody read the state topic into this copy."""
    return store.seen_at is not None and store.seen_at < setup.clock() - setup.tombstone_ms


async def _ranges(consumer: AIOKafkaConsumer, *places: TopicPartition) -> dict[TopicPartition, LogRange]:
    starts = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    return {place: LogRange(starts[place], ends[place]) for place in places}


async def _check(
    setup: Setup,
    partition: int,
    store: Store,
    ranges: dict[TopicPartition, LogRange],
    group: Sequence[HeldPosition],
) -> None:
    events = ranges[TopicPartition(setup.topology.events.name, partition)]
    held = [*held_positions(setup, partition, store, events), *group]
    log_now = {(place.topic, place.partition): found for place, found in ranges.items()}
    facts = replace(setup.facts, log={**setup.facts.log, **log_now}, positions=held, found={})
    refuse(problems(await survey.with_marks(setup.settings, f"afterword-merger-mark-{partition}", facts)))


def held_positions(setup: Setup, partition: int, store: Store, log_now: LogRange) -> list[HeldPosition]:
    """Return the positions that a local copy vouches for; `log_now` is what the events partition holds."""
    events, state = setup.topology.events.name, setup.topology.state.name
    held = []
    if store.position is not None:
        held.append(HeldPosition(f"stored in {store.path}", state, partition, store.position, store.mark))
    # Below the log's start it means nothing: the group's position counts.
    if store.input is not None and store.input >= log_now.start:
        held.append(
            HeldPosition(f"read by rows in {store.path}", events, partition, store.input, store.input_mark)
        )
    return held


async def _catch_up(
    setup: Setup, store: Store, consumer: AIOKafkaConsumer, state: TopicPartition, found: LogRange
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


def _take(setup: Setup, store: Store, records: Sequence[Any]) -> None:
    # Plain tuples: a `Stored` of each takes nine times as long to make.
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


def _input(setup: Setup, store: Store, records: Sequence[Any]) -> int | None:
    """Return an offset of the events before which everything is in the rows.

    A row and the position of its batch were committed together, so whatever came before a row's newest
    event was read.  One row of each write is enough.
    """
    row = records[-1].value
    if row is None:
        return None
    try:
        generation, offset = split_version(states.decode(row).version)
    except MsgspecError:
        return None  # whoever wrote that; the next event of its key will show it
    return max(offset + 1, store.input or 0) if generation == setup.topology.generation else None
