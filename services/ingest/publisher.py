"""Publishes events to Kafka with one producer at a time, which is replaced when it fails or hangs."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from schemas.topics import Topology
from services.ingest.accumulator import MOVING, NOT_WRITTEN, RECORD_OVERHEAD_BYTES
from services.ingest.event_log import EventRange, LogUnavailable, Overloaded, Record
from services.ingest.metrics import INFLIGHT_BYTES, INFLIGHT_TENANTS, LOG_READY, PRODUCERS_REPLACED
from services.ingest.producer import EventProducer, open_producer
from services.ingest.settings import IngestSettings
from services.pipeline.core.generation_states import Generation, GenerationState, writable
from services.pipeline.generations import LOOK_SECONDS, generations
from services.pipeline.survey import admin
from services.runtime.core.quota import ByteQuota
from services.runtime.kafka.outage_probe import kafka_outage
from services.runtime.retry import delays, retry

log = structlog.get_logger()

OPEN_SECONDS = 30.0
"""How long one attempt to start a producer may take."""

MOVING_SECONDS = 0.2
"""Delay between attempts to find a topic generation that is open, while none is."""

WATCH_SECONDS = 1.0
PING_SECONDS = 5.0
"""How long Kafka may take to answer a metadata request."""
DOUBTFUL_SECONDS = 2.0
"""A batch that waits longer for its answer triggers a check of Kafka."""
OUTAGE_SECONDS = 5.0
"""Interval of the checks of Kafka without such a trigger."""
WATCH_HANGS_SECONDS = 60.0
"""Longest interval between two checks of the producer, in any state of Kafka."""

CLIENT = "ingest-generation"


class TopicsMoving(Exception):  # noqa: N818 (a state, not a failure)
    """No topic generation accepts events at the moment; the text names the remedy if that lasts."""


async def writable_generation(settings: IngestSettings) -> int:
    """Return the topic generation to write to; raise TopicsMoving if none is open, or KafkaError."""
    given = settings.kafka_topic_generation if settings.is_generation_given else None
    async with admin(settings, CLIENT) as client:
        existing = await generations(client, given)
    if given is not None:
        return _checked(given, existing)
    number = writable(existing)
    if number is None:
        raise TopicsMoving(
            "the topics are moving to a new generation, and none accepts events for a while; if that lasts,"
            " `afterword resize` was interrupted: run it again, or `afterword resize --abort`"
        )
    return number


def _checked(given: int, existing: list[Generation]) -> int:
    if any(generation.standing is not GenerationState.OPEN for generation in existing):
        raise TopicsMoving(
            f"generation {given} of the topics accepts no events, and KAFKA_TOPIC_GENERATION selects it:"
            " unset it, and restart ingest, to use the open one"
        )
    return given


class Publisher:
    """An `EventLog` in Kafka; an event's future is done when all in-sync replicas have acknowledged it.

    When a producer fails, queued events are certainly not written.  Events that were handed over may be:
    their bytes count against the quota until Kafka answers or the producer has ended.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self.epoch = 0
        self._settings = settings
        self.generation = settings.kafka_topic_generation
        """The topic generation that the latest producer writes to."""
        self._is_moving = False
        """Whether no topic generation is open, because the topics move to a new one."""
        self._quota = ByteQuota(settings.ingest_max_inflight_bytes)
        self._producer: EventProducer | None = None
        self._problem: str | None = "Kafka has not been connected yet"
        self._stopping = False
        self._silent_since: float | None = None
        """Monotonic time since which the producer has got no answer to metadata requests."""
        self._outage: str | None = None
        self._outage_checked_at = self._outage_seen_at = float("-inf")
        self._watched_at = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        INFLIGHT_BYTES.set_function(lambda: self._quota.used)
        INFLIGHT_TENANTS.set_function(lambda: self._quota.tenants)
        LOG_READY.set_function(lambda: self.readiness() is None)

    @property
    def inflight_bytes(self) -> int:
        """Bytes of events that wait for Kafka's acknowledgement."""
        return self._quota.used

    def start(self) -> None:
        """Start to connect to Kafka; until then `publish` raises LogUnavailable."""
        self._spawn(self._connect(), "connect")
        self._spawn(self._watch(), "watch")
        if not self._settings.is_generation_given:
            self._spawn(self._follow(), "follow")

    def publish(self, key: bytes, value: bytes) -> asyncio.Future[int]:
        """Queue an event; see `EventLog`."""
        current = self._producer or self._raise_unavailable()
        size = len(key) + len(value) + RECORD_OVERHEAD_BYTES
        tenant = key.partition(b"/")[0]
        if not self._quota.take(tenant, size):
            raise Overloaded
        try:
            return current.add(key, value, tenant, size)
        except LogUnavailable:
            self._quota.give(tenant, size)
            raise

    def publish_all(self, records: Sequence[Record]) -> list[EventRange]:
        """Queue events of one tenant, or none of them; see `EventLog`."""
        current = self._producer or self._raise_unavailable()
        size = sum([len(key) + len(value) for key, value in records]) + RECORD_OVERHEAD_BYTES * len(records)
        tenant = records[0][0].partition(b"/")[0]
        if not self._quota.take(tenant, size):
            raise Overloaded
        try:
            return current.add_all(records, tenant)
        except LogUnavailable:
            self._quota.give(tenant, size)
            raise

    def _raise_unavailable(self) -> NoReturn:
        """Raise the error for an event that arrives while there is no producer."""
        if self._is_moving:
            raise Overloaded(MOVING)
        raise LogUnavailable(NOT_WRITTEN, unknown=False)

    def partition_of(self, key: bytes) -> int | None:
        """Return the partition of a key, or None without a producer."""
        return None if self._producer is None else self._producer.partition_of(key)

    def readiness(self) -> str | None:
        """Return why events cannot be written at the moment, or None."""
        if self._stopping:
            return "stopping"
        if self._producer is not None and self._producer.stuck:
            return self._outage or f"Kafka has not answered for {self._age():.0f} s"
        return self._problem

    def liveness(self) -> str | None:
        """Return why the process needs a restart, or None.

        An unreachable Kafka, or partitions without leader or enough replicas, are no reasons.  A producer
        that hangs while Kafka works is replaced, and connecting a new one is retried without limit.
        """
        if any(task.done() and not task.cancelled() for task in self._tasks):
            return "a task of the publisher ended"
        stalled = 2 * self._settings.ingest_stalled_seconds
        if self._stuck_for() > stalled:
            return f"no progress for {self._stuck_for():.0f} s"
        unwatched = time.monotonic() - self._watched_at
        if unwatched > max(stalled, WATCH_HANGS_SECONDS):
            return f"the producer was not checked for {unwatched:.0f} s"
        return None

    def _age(self) -> float:
        """Return for how many seconds the oldest batch has waited for Kafka's answer."""
        oldest = self._producer.oldest() if self._producer else None
        return time.monotonic() - oldest if oldest is not None else 0.0

    def _stuck_for(self) -> float:
        """Return for how many seconds the producer has got no answer while Kafka was available."""
        oldest = self._producer.oldest() if self._producer else None
        began = min((since for since in (oldest, self._silent_since) if since is not None), default=None)
        return 0.0 if began is None else time.monotonic() - max(began, self._outage_seen_at)

    async def stop(self, grace: float) -> None:
        """Refuse new events, wait up to `grace` seconds for the acknowledgement of others, and end."""
        self._stopping = True
        current, self._producer = self._producer, None
        deadline = time.monotonic() + grace
        if current is not None:
            await current.drained(grace)
            await current.retire(max(0.0, deadline - time.monotonic()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> None:
        """Connect a producer, and retry until that succeeds."""
        errors = (TopicsMoving, KafkaError, OSError, TimeoutError)
        pauses = (
            min(delay, MOVING_SECONDS) if self._is_moving else delay
            for delay in delays(first=0.2, longest=2.0)
        )
        await retry(self._open, errors, pauses, self._not_opened)
        self._problem, self._is_moving = None, False
        log.info("log opened", topic=self._topic, epoch=self.epoch)

    async def _open(self) -> None:
        """Connect a producer to the open topic generation; raise TopicsMoving or aiokafka's errors."""
        async with asyncio.timeout(OPEN_SECONDS):
            self.generation = await writable_generation(self._settings)
            self._producer = await open_producer(self._settings, self._topic, self._quota, self)

    def _not_opened(self, error: Exception) -> None:
        """Note why no producer could be connected, and log each reason once."""
        if isinstance(error, TopicsMoving):
            problem, self._is_moving = str(error), True
        elif isinstance(error, UnknownTopicOrPartitionError):
            problem = f"the topic {self._topic} does not exist; run `afterword migrate`"
        else:
            problem = f"Kafka at {self._settings.kafka_bootstrap_servers} does not answer: {error!r}"
        if problem != self._problem:
            self._problem = problem
            log.warning("log not opened", problem=problem)

    @property
    def _topic(self) -> str:
        return Topology(self.generation).events.name

    async def _follow(self) -> None:
        """Notice that the topic generation was closed while no events are sent that Kafka could refuse."""
        while True:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with admin(self._settings, "ingest-generation") as client:
                    while True:
                        await self._check_generation(client)
                        await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    async def _check_generation(self, client: AIOKafkaAdminClient) -> None:
        current, number = self._producer, self.generation
        if current is not None and writable(await generations(client)) != number:
            self.refused(current.kafka_producer)

    def lost(self) -> None:
        """Advance the epoch, for callers that send events in order."""
        self.epoch += 1

    def refused(self, producer: Any) -> None:
        """Connect to the generation that is open now, and refuse the batches that were not handed over."""
        if self._producer is not None and self._producer.kafka_producer is producer:
            self._is_moving = True
            reason = f"{self._topic} no longer accepts events"
            self._replace("refused", reason, grace=self._settings.ingest_deadline_seconds)

    def broken(self, producer: Any, reason: str) -> None:
        """Replace the producer that failed, once."""
        if self._producer is not None and self._producer.kafka_producer is producer:
            self._replace("failed", reason, grace=self._settings.ingest_deadline_seconds)

    def _replace(self, label: str, reason: str, grace: float) -> None:
        current, self._producer = self._producer, None
        if current is None or self._stopping:
            return
        self._silent_since = None
        self.epoch += 1
        self._problem = f"the producer is being replaced: {reason}"
        PRODUCERS_REPLACED.labels(label).inc()
        write = log.info if self._is_moving else log.error
        write("producer replaced", reason=reason, unanswered_bytes=self._quota.used)
        current.drop_queue(refused=self._is_moving)
        self._spawn(current.retire(grace), "retire")
        self._spawn(self._connect(), "connect")

    async def _watch(self) -> None:
        """Replace a producer that hangs, and detect outages of Kafka while no events are sent."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._watched_at = time.monotonic()
            current = self._producer
            if current is None:
                self._silent_since = None
                continue
            answers = await current.answers(PING_SECONDS)
            self._silent_since = None if answers else self._silent_since or time.monotonic()
            if self._is_doubtful(current):
                await self._check_for_outage(current)
            if current is not self._producer:
                continue
            self._problem = self._outage or (None if answers else "the producer gets no answer from Kafka")
            stuck = self._stuck_for()
            if stuck > self._settings.ingest_stalled_seconds:
                self._replace(
                    "stalled", f"no answer for {stuck:.0f} s, while Kafka answers other clients", grace=0
                )

    def _is_doubtful(self, current: EventProducer) -> bool:
        """Return whether to check Kafka with a new client."""
        is_late = time.monotonic() - self._outage_checked_at > OUTAGE_SECONDS
        is_silent = self._silent_since is not None or self._age() > DOUBTFUL_SECONDS
        return is_late or is_silent or self._outage is not None or not current.is_whole

    async def _check_for_outage(self, current: EventProducer) -> None:
        before = self._outage
        self._outage = await kafka_outage(self._settings, "ingest-watch", current.needs())
        self._outage_checked_at = time.monotonic()
        if self._outage is not None:
            self._outage_seen_at = time.monotonic()
            if before is None:
                log.warning("server stopped answering", server="Kafka", reason=self._outage)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"publisher {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Drop a task that succeeded; keep one that failed, for `liveness`."""
        with contextlib.suppress(asyncio.CancelledError):
            error = task.exception()
            if error is not None:
                log.error("publisher task failed", task=task.get_name(), exc_info=error)
                return
        self._tasks.discard(task)
