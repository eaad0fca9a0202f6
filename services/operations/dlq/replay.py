"""Replaying dead letters, batch by batch: write, wait for the acknowledgement, then mark.

After a kill, the same command begins with the first that is not marked.  What was written but not marked is
written again with the same version, which changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from schemas.limits import MIB
from schemas.topics import Topology
from services.operations.dlq.core.dead_letter import DeadLetterContent, DeadLetterId, StoredDeadLetter
from services.operations.dlq.core.decisions import (
    InsertRow,
    PlannedReplay,
    ReplayContext,
    SendEvent,
    SkipReplay,
    decide_replay,
)
from services.operations.dlq.core.statements import DeadLetterSelection, mark_replayed
from services.operations.dlq.tables import DeadLetterTables
from services.operations.errors import kafka_unreachable
from services.operations.exits import CommandError
from services.pipeline.core.continuity import Recorded
from services.pipeline.generations import resolved
from services.pipeline.survey import admin, cluster_id, partition_counts, topic_numbers
from services.runtime.clickhouse.core.bisection import halves
from services.runtime.clickhouse.insert import RowsRefusedError, RowWriter
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, connect, producer
from services.runtime.settings import KafkaSettings

CLIENT = "afterword-dlq"
FAILURES = (KafkaError, OSError, TimeoutError)

S = TypeVar("S", bound=KafkaSettings)


async def in_use(settings: S) -> S:
    """Return the settings with the topic generation in use; UnreachableError."""
    try:
        return await resolved(settings, CLIENT)
    except FAILURES as error:
        raise kafka_unreachable(settings) from error


async def kept_since(settings: KafkaSettings, recorded: Sequence[Recorded], now: datetime) -> datetime | None:
    """Return since when the topics keep records, None for ever.

    CommandError if the tables belong to another Kafka, where a version would name another event.
    """
    topology = Topology(settings.kafka_topic_generation)
    try:
        async with admin(settings, CLIENT) as client:
            cluster = await cluster_id(client)
            counts = await partition_counts(client, [topology.events.name])
            topics = (topology.events.name, topology.events_dlq.name)
            kept = (await topic_numbers(client, topics, "retention.ms")).values()
    except FAILURES as error:
        raise kafka_unreachable(settings) from error
    here = Recorded(topology.generation, cluster, counts.get(topology.events.name, 0))
    if here not in recorded:
        raise CommandError(
            f"Kafka at {settings.kafka_bootstrap_servers} is not the one that these tables belong to (cluster"
            f" {cluster}, generation {topology.generation}): is KAFKA_BOOTSTRAP_SERVERS right, and"
            " KAFKA_TOPIC_GENERATION?  Run `afterword migrate` for details."
        )
    return None if min(kept, default=-1) < 0 else now - timedelta(milliseconds=max(kept))


class ReplayProducer:
    """Appends events to the partitions of their keys."""

    def __init__(self, producer: AIOKafkaProducer, settings: KafkaSettings) -> None:
        self._producer, self._settings = producer, settings
        self._topic = Topology(settings.kafka_topic_generation).events.name

    async def send(self, events: Sequence[SendEvent]) -> None:
        """Return once Kafka has acknowledged all; UnreachableError if it may not have them."""
        try:
            sent = [
                await self._producer.send(
                    self._topic, event.value, event.key, partition=event.partition, headers=event.headers
                )
                for event in events
            ]
            await asyncio.gather(*sent)
        except FAILURES as error:
            if isinstance(error, KafkaError) and not (
                error.retriable or isinstance(error, KafkaTimeoutError)
            ):
                raise CommandError(f"Kafka refuses: {error!r}") from error
            raise kafka_unreachable(self._settings) from error


@asynccontextmanager
async def replay_producer(settings: KafkaSettings) -> AsyncIterator[ReplayProducer]:
    """Connect for the block: idempotent, not transactional, so that every offset of the log has a record."""
    topic = Topology(settings.kafka_topic_generation).events
    sending = producer(
        settings,
        CLIENT,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=topic.max_message_bytes + RECORD_OVERHEAD_BYTES,
    )
    try:
        await connect(sending)
    except FAILURES as error:
        await sending.stop()
        raise kafka_unreachable(settings) from error
    try:
        yield ReplayProducer(sending, settings)
    finally:
        await sending.stop()


BATCH_LETTERS, BATCH_BYTES = 200, 16 * MIB
"""The most in one batch; a larger dead letter is a batch of its own."""


class EventTarget(Protocol):
    """Accepts events to replay."""

    async def send(self, events: Sequence[SendEvent]) -> None:
        """Return once Kafka has acknowledged all."""


def batches(letters: Iterable[StoredDeadLetter]) -> Iterator[list[StoredDeadLetter]]:
    """Divide dead letters into batches that fit into memory."""
    part: list[StoredDeadLetter] = []
    size = 0
    for letter in letters:
        weight = letter.size or 0
        if part and (len(part) == BATCH_LETTERS or size + weight > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(letter)
        size += weight
    if part:
        yield part


async def planned_replays(
    tables: DeadLetterTables,
    selection: DeadLetterSelection,
    context: ReplayContext,
    correction: bytes | None = None,
) -> AsyncIterator[list[PlannedReplay]]:
    """Yield everything that is selected, batch by batch, with the decision for each.

    `correction`: a corrected body that is not stored yet.
    """
    async for page in tables.pages(selection):
        for part in batches(page):
            ids = [letter.id for letter in part]
            known = replace(context, places=await tables.places(ids), erased=await tables.erased(ids))
            contents = await tables.contents(ids)
            yield [
                PlannedReplay(one, decide_replay(one, _with(contents[one.id], correction), known))
                for one in part
                if one.id in contents
            ]


def _with(content: DeadLetterContent, correction: bytes | None) -> DeadLetterContent:
    return content if correction is None else content._replace(correction=correction)


async def replay(
    tables: DeadLetterTables,
    plan: AsyncIterator[list[PlannedReplay]],
    events: EventTarget,
    rows: RowWriter,
    shown: Callable[[Sequence[DeadLetterId], Sequence[PlannedReplay], int], None],
) -> None:
    """Carry out the decisions.

    `shown` is called after each batch: ids that were replayed, those refused again, number of skipped ones.
    """
    async for part in plan:
        sends = {one.letter.id: one.decision for one in part if isinstance(one.decision, SendEvent)}
        if sends:
            await events.send(list(sends.values()))
        inserted, refused = await _inserted(part, rows)
        done = [*sends, *inserted]
        if done:
            await tables.mark(mark_replayed(done))
        shown(done, refused, len(part) - len(done) - len(refused))


async def _inserted(
    part: Sequence[PlannedReplay], rows: RowWriter
) -> tuple[list[DeadLetterId], list[PlannedReplay]]:
    """Insert the rows of a batch; return those stored, and those refused again."""
    by_table: dict[str, list[tuple[StoredDeadLetter, bytes]]] = {}
    for letter, decision in part:
        if isinstance(decision, InsertRow):
            by_table.setdefault(decision.table, []).append((letter, decision.line))
    stored: list[DeadLetterId] = []
    refused: list[PlannedReplay] = []
    pending: list[tuple[str, Sequence[tuple[StoredDeadLetter, bytes]]]] = list(by_table.items())
    while pending:
        table, several = pending.pop()
        try:
            await rows.insert(table, [line for _, line in several])
        except RowsRefusedError as error:
            if len(several) == 1:
                refused.append(
                    PlannedReplay(several[0][0], SkipReplay(f"ClickHouse refuses it again: {error}"))
                )
            else:
                pending.extend((table, half) for half in halves(several))
        else:
            stored.extend(letter.id for letter, _ in several)
    return stored, refused
