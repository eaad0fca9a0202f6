"""Reads one route: fetches while the batch before is being stored, and hands positions from owner to owner.

A turn of the loop starts what can be started (placing new partitions, storing a batch that is due, the
next fetch) and waits for whichever ends first.  At most one thing is asked of ClickHouse at a time.

Records are taken only within a tenure: from the moment the partitions of an assignment were placed at
their start positions until they are revoked.  Whatever was fetched outside of one, or waits when it ends,
is dropped, and read again by whoever owns the partition next.  A tenure also ends when ClickHouse has lower
positions than were stored in it; the partitions are then placed again, as at a start.
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
from services.sink.core.batch import Batch, Limits
from services.sink.core.fetch_buffer import Fetch, Waiting
from services.sink.core.positions import start
from services.sink.core.routes import Route
from services.sink.startup_check import stored_positions
from services.sink.store import Store, StoreWentBack

log = structlog.get_logger()

FETCH_RECORDS = 10_000
"""Records decoded in one turn: more would keep heartbeats and health checks waiting."""
FETCH_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
"""A full batch behind a slower insert pauses the partitions, so that polls can go on without records."""
SETTLE_SECONDS = 5.0
"""How long a rebalance or a stop waits for the insert in hand; it is repeated when it was given up."""
COMMIT_SECONDS = 10.0


@dataclass(frozen=True)
class _Fetched:
    tenure: int | None
    records: Mapping[Partition, Fetch]
    positions: dict[Partition, int]


class Reader(ConsumerRebalanceListener):
    """One route's loop.  `run` returns after `stop` was set, or raises what it cannot mend."""

    def __init__(
        self,
        route: Route,
        consumer: AIOKafkaConsumer,
        store: Store,
        limits: Limits,
        facts: ContinuityFacts,
        wall_ms: Callable[[], int],
        look: Callable[[ContinuityFacts], Awaitable[ContinuityFacts]],
        check_seconds: float = 10.0,
    ) -> None:
        """`look` adds to facts what the log has at the marks of their positions.

        `check_seconds`: how often the positions in ClickHouse are looked at while nothing is stored.
        """
        self._route, self._consumer, self._store = route, consumer, store
        self._limits, self._facts, self._wall_ms = limits, facts, wall_ms
        self._look, self._check_seconds = look, check_seconds
        self._losses = 0
        """How many connections had broken when the partitions were placed."""
        self._clock = asyncio.get_running_loop().time
        self._took = 0.0
        """Seconds that ClickHouse took for the last batch."""
        self._batch = self._empty()
        self._waiting = Waiting({})
        self._unplaced: set[TopicPartition] = set()
        self._joined = False
        """Whether the group has given this process its partitions, be it none."""
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
        """Return why the route does not read, or None."""
        if not self._joined:
            return "waiting for the consumer group"
        return "its partitions are not placed yet" if self._unplaced else None

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
        if self._waiting and self._batch.room:
            return 0.0  # a turn of asyncio's loop goes to others all the same
        due = None if self._job else self._batch.due_in(self._clock())
        return FETCH_SECONDS if due is None else min(due, FETCH_SECONDS)

    def _reap(self) -> None:
        """End a job that is done, and raise what it raised."""
        if self._job is not None and self._job.done():
            job, self._job = self._job, None
            try:
                if not job.cancelled():
                    job.result()
            except StoreWentBack as error:
                if self._tenure is not None:
                    metrics.WENT_BACK.labels(self._route.name).inc()
                    self._place_again(str(error))
            if self._tenure is not None:
                self._consumer.resume(*self._consumer.paused())

    def _begin(self) -> None:
        if self._job is not None:
            return
        if self._unplaced:
            self._start_job(self._place())
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
        elif self._waiting:
            return  # the consumer fetches ahead by itself, once
        self._fetch = asyncio.create_task(self._fetched())

    async def _fetched(self) -> _Fetched:
        records = await self._consumer.getmany(timeout_ms=int(FETCH_SECONDS * 1000))
        # Nothing may wait between here and the end: records, positions and tenure belong together.
        tenure = self._tenure
        positions = {}
        if tenure is not None:
            for one in self._consumer.assignment():
                positions[one.topic, one.partition] = await self._consumer.position(one)
        return _Fetched(tenure, records, positions)

    def _take(self) -> None:
        """Fill the batch from what was fetched, as far as one turn may."""
        if self._fetch is not None and self._fetch.done():
            fetch, self._fetch = self._fetch, None
            fetched = fetch.result()
            if fetched.tenure is not None and fetched.tenure == self._tenure:
                if any(one.losses != self._losses for one in fetched.records.values()):
                    # Behind a broken connection, the log may be another one.
                    self._place_again("a connection to Kafka broke")
                else:
                    self._waiting.put(fetched.records, fetched.positions)
        taken = self._waiting.take(min(self._batch.room, FETCH_RECORDS))
        self._batch.add(taken.records, taken.positions, self._clock())

    async def _place(self) -> None:
        """Move the partitions of a new assignment to where their stored part ends."""
        partitions, losses = sorted(self._unplaced), self._consumer.losses
        stored = await self._store.positions()
        committed = await group_positions(self._consumer, self._route.group, partitions)
        starts = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        logs = {one: LogRange(starts[one], ends[one]) for one in partitions}
        await self._refuse(logs, stored, committed)
        known = {TopicPartition(one.topic, one.partition): one.offset for one in committed}
        reached = {one: found.position for one in partitions if (found := stored.get((*one,)))}
        places = {one: start(reached.get(one), known.get(one), logs[one]) for one in partitions}
        for one, offset in places.items():
            self._consumer.seek(one, offset)
        begins = {(one.topic, one.partition): offset for one, offset in places.items()}
        self._waiting = Waiting(begins)
        # A start that nobody has noted is noted now, so that lag and watermark know the partition.
        unknown = {one: offset for one, offset in begins.items() if one not in stored}
        self._batch = self._empty()
        self._batch.add({}, unknown, self._clock())
        self._unplaced, self._losses = set(), losses
        self._tenures += 1
        self._tenure = self._tenures
        log.info("partitions placed", route=self._route.name, partitions=len(partitions))

    async def _refuse(
        self,
        logs: dict[TopicPartition, LogRange],
        stored: Mapping[Partition, StoredPosition],
        committed: Sequence[HeldPosition],
    ) -> None:
        """Raise ContinuityError when something remembered does not fit the log."""
        own = {(one.topic, one.partition) for one in logs}
        held = stored_positions({place: one for place, one in stored.items() if place in own})
        log_now = {(one.topic, one.partition): found for one, found in logs.items()}
        facts = replace(self._facts, log=log_now, positions=[*held, *committed], found={})
        refuse([*misplaced(await self._look(facts))])

    async def _flush(self, batch: Batch) -> None:
        began = self._clock()
        await self._store.store(batch)
        self._took = self._clock() - began
        self._count(batch, self._took)
        await self._commit(batch)

    def _count(self, batch: Batch, seconds: float) -> None:
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

    async def _commit(self, batch: Batch) -> None:
        """Tell the group; ClickHouse already knows, so a commit that fails costs reading a batch again."""
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
        """Let the insert in hand end if it can, and forget what was read: the next owner reads it again."""
        self._joined = False
        self._end_tenure()
        await self._settle()
        self._end_tenure()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Hold the new partitions until they are placed."""
        self._end_tenure()
        self._unplaced, self._joined = set(assigned), True
        for one in self._unplaced:
            # Any valid position keeps aiokafka from choosing one itself before `_place` does.
            self._consumer.seek(one, 0)
            self._consumer.pause(one)

    def _place_again(self, reason: str) -> None:
        """Have the partitions placed as at a start."""
        log.warning("placing partitions again", route=self._route.name, reason=reason)
        self._end_tenure()
        self._unplaced = set(self._consumer.assignment())
        self._consumer.pause(*self._unplaced)

    def _end_tenure(self) -> None:
        self._tenure, self._unplaced = None, set()
        self._batch, self._waiting = self._empty(), Waiting({})

    async def _settle(self) -> None:
        if self._job is not None:
            done, _ = await asyncio.wait({self._job}, timeout=SETTLE_SECONDS)
            if not done:
                await _cancelled(self._job)

    async def _finish(self) -> None:
        """Store what was read, unless that takes too long: then it is read again after the next start."""
        with suppress(TimeoutError, StoreWentBack):
            async with asyncio.timeout(SETTLE_SECONDS):
                if self._job is not None:
                    await asyncio.wait({self._job})
                    self._reap()
                if self._batch.opened_at is not None:
                    await self._flush(self._batch)

    def _empty(self) -> Batch:
        return Batch(self._route, self._limits.after(self._took))


async def _cancelled(*tasks: asyncio.Task[Any] | None) -> None:
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
