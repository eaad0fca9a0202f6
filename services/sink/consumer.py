"""Consumes one route: fetches while the previous batch is stored, and follows rebalances of its group.

A turn of the loop starts what can be started (seeking new partitions, storing a batch that is due, the
next fetch) and waits for whichever ends first.  At most one request to ClickHouse is in flight.

Records are taken only within a tenure: from the moment the partitions of an assignment were moved to
their start offsets until they are revoked.  Records fetched outside of a tenure, or buffered when it ends,
are dropped, and the next owner of the partition reads them again.  A tenure also ends when ClickHouse has
lower positions than were stored in it; the start offsets are then determined again, as at a start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from services.pipeline.core.continuity import ContinuityFacts, HeldPosition, LogRange, misplaced, refuse
from services.pipeline.survey import group_positions
from services.runtime.clickhouse.insert import StoredPosition
from services.runtime.kafka.clients import connect
from services.runtime.kafka.core.records import Partition
from services.sink import metrics
from services.sink.core.batch import BatchLimits, FetchBuffer, FetchedRecords, SinkBatch, start_offset
from services.sink.core.routes import SinkRoute
from services.sink.startup_check import stored_positions
from services.sink.store import SinkStore, StoreWentBack

log = structlog.get_logger()

FETCH_RECORDS = 10_000
"""Records decoded in one turn: more would delay heartbeats and health checks."""
FETCH_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
"""When a full batch waits this long for an insert, partitions are paused, so that polls can continue."""
SETTLE_SECONDS = 5.0
"""How long a rebalance or a stop waits for the insert in flight; one that is cancelled is repeated later."""
COMMIT_SECONDS = 10.0


@dataclass(frozen=True)
class _Fetched:
    tenure: int | None
    records: Mapping[Partition, FetchedRecords]
    positions: dict[Partition, int]


class RouteConsumer(ConsumerRebalanceListener):
    """The loop of one route.  `run` returns after `stop` was set; after an error, make a new consumer."""

    def __init__(
        self,
        route: SinkRoute,
        consumer: AIOKafkaConsumer,
        store: SinkStore,
        limits: BatchLimits,
        facts: ContinuityFacts,
        wall_ms: Callable[[], int],
        look: Callable[[ContinuityFacts], Awaitable[ContinuityFacts]],
        check_seconds: float = 10.0,
    ) -> None:
        """`look` adds to facts what the log has at the marks of their positions.

        `check_seconds`: how often the positions in ClickHouse are checked while nothing is stored.
        """
        self._route, self._consumer, self._store = route, consumer, store
        self._limits, self._facts, self._wall_ms = limits, facts, wall_ms
        self._look, self._check_seconds = look, check_seconds
        self._losses = 0
        """How many connections had broken when the start offsets were determined."""
        self._clock = asyncio.get_running_loop().time
        self._store_seconds = 0.0
        """Seconds that storing the last batch took."""
        self._batch = self._empty()
        self._buffer = FetchBuffer({})
        self._to_seek: set[TopicPartition] = set()
        self._joined = False
        """Whether the group has assigned this process its partitions, even if none."""
        self._tenure: int | None = None
        self._tenures = 0
        self._fetch: asyncio.Task[_Fetched] | None = None
        self._job: asyncio.Task[None] | None = None
        self._job_since = self._clock()

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that this process owns now."""
        return frozenset((one.topic, one.partition) for one in self._consumer.assignment())

    def complaint(self) -> str | None:
        """Return why the route does not consume, or None."""
        if not self._joined:
            return "waiting for the consumer group"
        return "the start offsets of its partitions are not known yet" if self._to_seek else None

    async def run(self, stop: asyncio.Event) -> None:
        """Read and store until `stop` is set, then store what was read."""
        self._consumer.subscribe([topic.name for topic in self._route.topics], listener=self)
        stopping = asyncio.create_task(stop.wait())
        try:
            await connect(self._consumer)
            while not stop.is_set():
                await self._turn(stopping)
            await self._finish()
        finally:
            stopping.cancel()
            await _cancelled(self._fetch, self._job)
            await self._consumer.stop()

    async def _turn(self, stopping: asyncio.Task[Any]) -> None:
        self._reap()
        self._begin()
        self._ask()
        waiting = {task for task in (stopping, self._fetch, self._job) if task is not None}
        await asyncio.wait(waiting, timeout=self._pause(), return_when=asyncio.FIRST_COMPLETED)
        self._take()
        metrics.OPEN_ROWS.labels(self._route.name).set(len(self._batch.lines))

    def _pause(self) -> float:
        if self._buffer and self._batch.room:
            return 0.0  # other tasks of the event loop run all the same
        due = None if self._job else self._batch.due_in(self._clock())
        return FETCH_SECONDS if due is None else min(due, FETCH_SECONDS)

    def _reap(self) -> None:
        """Collect a finished job, and raise its error."""
        if self._job is not None and self._job.done():
            job, self._job = self._job, None
            try:
                if not job.cancelled():
                    job.result()
            except StoreWentBack as error:
                if self._tenure is not None:
                    metrics.WENT_BACK.labels(self._route.name).inc()
                    self._seek_again(str(error))
            if self._tenure is not None:
                self._consumer.resume(*self._consumer.paused())

    def _begin(self) -> None:
        if self._job is not None:
            return
        if self._to_seek:
            self._start_job(self._seek())
        elif self._batch.due_in(self._clock()) == 0:
            batch, self._batch = self._batch, self._empty()
            self._start_job(self._flush(batch))
        elif self._tenure is not None and self._clock() - self._job_since >= self._check_seconds:
            self._start_job(self._store.check())

    def _start_job(self, work: Coroutine[Any, Any, None]) -> None:
        self._job, self._job_since = asyncio.create_task(work), self._clock()

    def _ask(self) -> None:
        if self._fetch is not None:
            return
        if self._batch.room == 0:
            if self._clock() - self._job_since < PATIENCE_SECONDS:
                return
            self._consumer.pause(*self._consumer.assignment())
        elif self._buffer:
            return  # the consumer prefetches once by itself
        self._fetch = asyncio.create_task(self._fetched())

    async def _fetched(self) -> _Fetched:
        records = await self._consumer.getmany(timeout_ms=int(FETCH_SECONDS * 1000))
        # No await that blocks from here on: records, positions and tenure belong together.
        tenure = self._tenure
        positions = {}
        if tenure is not None:
            for one in self._consumer.assignment():
                positions[one.topic, one.partition] = await self._consumer.position(one)
        return _Fetched(tenure, records, positions)

    def _take(self) -> None:
        """Fill the batch from the buffer, up to the limit of one turn."""
        if self._fetch is not None and self._fetch.done():
            fetch, self._fetch = self._fetch, None
            fetched = fetch.result()
            if fetched.tenure is not None and fetched.tenure == self._tenure:
                if any(record.losses != self._losses for record in fetched.records.values()):
                    # After a reconnect, the log may be another one.
                    self._seek_again("a connection to Kafka broke")
                else:
                    self._buffer.put(fetched.records, fetched.positions)
        taken = self._buffer.take(min(self._batch.room, FETCH_RECORDS))
        self._batch.add(taken.records, taken.positions, self._clock())

    async def _seek(self) -> None:
        """Seek the partitions of a new assignment to the end of what is stored of them."""
        partitions, losses = sorted(self._to_seek), self._consumer.losses
        stored = await self._store.positions()
        committed = await group_positions(self._consumer, self._route.group, partitions)
        starts = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        logs = {partition: LogRange(starts[partition], ends[partition]) for partition in partitions}
        await self._refuse(logs, stored, committed)
        known = {TopicPartition(one.topic, one.partition): one.offset for one in committed}
        reached = {
            partition: found.position for partition in partitions if (found := stored.get((*partition,)))
        }
        offsets = {
            partition: start_offset(reached.get(partition), known.get(partition), logs[partition])
            for partition in partitions
        }
        for one, offset in offsets.items():
            self._consumer.seek(one, offset)
        begins = {(one.topic, one.partition): offset for one, offset in offsets.items()}
        self._buffer = FetchBuffer(begins)
        # Store start offsets that have no stored position, so that lag and watermark know the partition.
        unknown = {one: offset for one, offset in begins.items() if one not in stored}
        self._batch = self._empty()
        self._batch.add({}, unknown, self._clock())
        self._to_seek, self._losses = set(), losses
        self._tenures += 1
        self._tenure = self._tenures
        log.info("start offsets set", route=self._route.name, partitions=len(partitions))

    async def _refuse(
        self,
        logs: dict[TopicPartition, LogRange],
        stored: Mapping[Partition, StoredPosition],
        committed: Sequence[HeldPosition],
    ) -> None:
        """Raise ContinuityError when a stored or committed position does not fit the log."""
        own = {(one.topic, one.partition) for one in logs}
        held = stored_positions({place: one for place, one in stored.items() if place in own})
        log_now = {(one.topic, one.partition): found for one, found in logs.items()}
        facts = replace(self._facts, log=log_now, positions=[*held, *committed], found={})
        refuse([*misplaced(await self._look(facts))])

    async def _flush(self, batch: SinkBatch) -> None:
        began = self._clock()
        await self._store.store(batch)
        self._store_seconds = self._clock() - began
        self._count(batch, self._store_seconds)
        await self._commit(batch)

    def _count(self, batch: SinkBatch, seconds: float) -> None:
        name = self._route.name
        metrics.SKIPPED.labels(name).inc(batch.skipped)
        metrics.STORE_SECONDS.labels(name).observe(seconds)
        if batch.lines:
            metrics.ROWS.labels(name).inc(len(batch.lines))
            metrics.BATCHES.labels(name).inc()
            metrics.BATCH_ROWS.labels(name).observe(len(batch.lines))
        if batch.oldest_ms is not None:
            age = max(0, self._wall_ms() - batch.oldest_ms) / 1000
            metrics.FRESHNESS_SECONDS.labels(name).observe(age)
            log.debug("batch stored", route=name, rows=len(batch.lines), seconds=round(seconds, 3), age=age)

    async def _commit(self, batch: SinkBatch) -> None:
        """Commit to the group; since ClickHouse has the positions, a failure only repeats a batch."""
        offsets = {
            TopicPartition(*one): OffsetAndMetadata(position, str(self._store.mark(one) or ""))
            for one, position in batch.positions.items()
        }
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            log.warning("offsets not committed", route=self._route.name, reason=repr(error))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """Wait for the insert in flight, and drop what was read: the next owner reads it again."""
        self._joined = False
        self._end_tenure()
        await self._settle()
        self._end_tenure()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause the new partitions until their start offsets are known."""
        self._end_tenure()
        self._to_seek, self._joined = set(assigned), True
        for one in self._to_seek:
            # Any valid position keeps aiokafka from choosing one itself before `_seek` does.
            self._consumer.seek(one, 0)
            self._consumer.pause(one)

    def _seek_again(self, reason: str) -> None:
        """Have the start offsets determined again, as at a start."""
        log.warning("determining start offsets again", route=self._route.name, reason=reason)
        self._end_tenure()
        self._to_seek = set(self._consumer.assignment())
        self._consumer.pause(*self._to_seek)

    def _end_tenure(self) -> None:
        self._tenure, self._to_seek = None, set()
        self._batch, self._buffer = self._empty(), FetchBuffer({})

    async def _settle(self) -> None:
        if self._job is not None:
            done, _ = await asyncio.wait({self._job}, timeout=SETTLE_SECONDS)
            if not done:
                await _cancelled(self._job)

    async def _finish(self) -> None:
        """Store what was read; what takes too long is read again after the next start."""
        with suppress(TimeoutError, StoreWentBack):
            async with asyncio.timeout(SETTLE_SECONDS):
                if self._job is not None:
                    await asyncio.wait({self._job})
                    self._reap()
                if self._batch.opened_at is not None:
                    await self._flush(self._batch)

    def _empty(self) -> SinkBatch:
        return SinkBatch(self._route, self._limits.after(self._store_seconds))


async def _cancelled(*tasks: asyncio.Task[Any] | None) -> None:
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
