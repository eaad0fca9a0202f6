"""The log as ingest writes it: one producer at a time, replaced as soon as it cannot be trusted."""

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
from services.ingest.core.quota import Shares
from services.ingest.event_log import LogUnavailable, Overloaded, Record, Stretch
from services.ingest.metrics import INFLIGHT_BYTES, INFLIGHT_TENANTS, LOG_READY, PRODUCERS_REPLACED
from services.ingest.producer import Connection, open_connection
from services.ingest.settings import IngestSettings
from services.pipeline.core.generation_states import Generation, GenerationState, writable
from services.pipeline.generations import LOOK_SECONDS, generations
from services.pipeline.survey import admin
from services.runtime.core.backoff import delays
from services.runtime.kafka.outage_probe import kafka_outage

log = structlog.get_logger()

OPEN_SECONDS = 30.0
"""How long one try to start a producer may take."""

MOVING_SECONDS = 0.2
"""Between two looks for a generation that takes events, while none does."""

WATCH_SECONDS = 1.0
PING_SECONDS = 5.0
"""How long Kafka may take to answer a question for metadata, before it counts as away."""
DOUBTFUL_SECONDS = 2.0
"""A batch that waits for longer is a reason to ask whether Kafka takes anything at the moment."""
OUTAGE_SECONDS = 5.0
"""How often that is asked for no reason."""
WATCH_HANGS_SECONDS = 60.0
"""Within which the watch has looked again, whatever Kafka does."""

CLIENT = "ingest-generation"


class Moving(Exception):  # noqa: N818 (it says what happens)
    """No generation takes events at the moment; the text says what to do if that lasts."""


async def destination(settings: IngestSettings) -> int:
    """Return the generation to write to; Moving when there is none, KafkaError when Kafka does not answer."""
    given = settings.kafka_topic_generation if settings.is_generation_given else None
    async with admin(settings, CLIENT) as client:
        found = await generations(client, given)
    if given is not None:
        return _checked(given, found)
    number = writable(found)
    if number is None:
        raise Moving(
            "the topics are moving to a new generation, and none takes events for a while; if that lasts,"
            " `afterword resize` was cut off: run it again, or `afterword resize --abort`"
        )
    return number


def _checked(given: int, found: list[Generation]) -> int:
    if any(one.standing is not GenerationState.OPEN for one in found):
        raise Moving(
            f"generation {given} of the topics takes no events; KAFKA_TOPIC_GENERATION names it: unset it,"
            " and start ingest again, to use the one that does"
        )
    return given


class Publisher:
    """Writes events to Kafka, each acknowledged by all in-sync replicas before its future is done.

    Events that were queued when a producer failed are certainly not written.  Events that were handed over
    may be: their bytes count against the budget until Kafka answers or the producer has ended.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self.epoch = 0
        self._settings = settings
        self.generation = settings.kafka_topic_generation
        """The generation of the topics that the latest connection writes to."""
        self._is_moving = False
        """No generation takes events: they move to a new one."""
        self._shares = Shares(settings.ingest_max_inflight_bytes)
        self._connection: Connection | None = None
        self._problem: str | None = "Kafka has not been reached yet"
        self._stopping = False
        self._silent_since: float | None = None
        """Since when the producer has not heard from Kafka, in monotonic seconds."""
        self._outage: str | None = None
        self._outage_asked_at = self._outage_seen_at = float("-inf")
        self._watched_at = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        INFLIGHT_BYTES.set_function(lambda: self._shares.used)
        INFLIGHT_TENANTS.set_function(lambda: self._shares.tenants)
        LOG_READY.set_function(lambda: self.readiness() is None)

    @property
    def inflight_bytes(self) -> int:
        """Bytes that wait for Kafka's answer."""
        return self._shares.used

    def start(self) -> None:
        """Begin to look for Kafka.  Until it is found, `publish` refuses."""
        self._spawn(self._connect(), "connect")
        self._spawn(self._watch(), "watch")
        if not self._settings.is_generation_given:
            self._spawn(self._follow(), "follow")

    def publish(self, key: bytes, value: bytes) -> asyncio.Future[int]:
        """Queue an event; see `Log`."""
        connection = self._connection or self._refused()
        size = len(key) + len(value) + RECORD_OVERHEAD_BYTES
        tenant = key.partition(b"/")[0]
        if not self._shares.take(tenant, size):
            raise Overloaded
        try:
            return connection.add(key, value, tenant, size)
        except LogUnavailable:
            self._shares.give(tenant, size)
            raise

    def publish_all(self, records: Sequence[Record]) -> list[Stretch]:
        """Queue events of one tenant, or none of them; see `Log`."""
        connection = self._connection or self._refused()
        size = sum([len(key) + len(value) for key, value in records]) + RECORD_OVERHEAD_BYTES * len(records)
        tenant = records[0][0].partition(b"/")[0]
        if not self._shares.take(tenant, size):
            raise Overloaded
        try:
            return connection.add_all(records, tenant)
        except LogUnavailable:
            self._shares.give(tenant, size)
            raise

    def _refused(self) -> NoReturn:
        """Say why there is no connection."""
        if self._is_moving:
            raise Overloaded(MOVING)
        raise LogUnavailable(NOT_WRITTEN, unknown=False)

    def partition_of(self, key: bytes) -> int | None:
        """Return the partition of a key, or None until Kafka has been reached."""
        return None if self._connection is None else self._connection.partition_of(key)

    def readiness(self) -> str | None:
        """Return why events cannot be written right now, or None."""
        if self._stopping:
            return "stopping"
        if self._connection is not None and self._connection.stuck:
            return self._outage or f"Kafka has not answered for {self._age():.0f} s"
        return self._problem

    def liveness(self) -> str | None:
        """Return why only a restart can help, or None.

        Kafka being away is no such reason, nor that it takes nothing for want of a leader or of replicas.  A
        producer that hangs though Kafka does not is replaced, and the new one is sought for as long as it
        takes.
        """
        if any(task.done() and not task.cancelled() for task in self._tasks):
            return "a task of the publisher has ended"
        stalled = 2 * self._settings.ingest_stalled_seconds
        if self._stuck_for() > stalled:
            return f"no progress for {self._stuck_for():.0f} s"
        unwatched = time.monotonic() - self._watched_at
        if unwatched > max(stalled, WATCH_HANGS_SECONDS):
            return f"the producer was not looked at for {unwatched:.0f} s"
        return None

    def _age(self) -> float:
        """Return for how many seconds the oldest batch has been waiting for Kafka's answer."""
        oldest = self._connection.oldest() if self._connection else None
        return time.monotonic() - oldest if oldest is not None else 0.0

    def _stuck_for(self) -> float:
        """Return for how many seconds the producer has got no answer though Kafka would have given one."""
        oldest = self._connection.oldest() if self._connection else None
        began = min((since for since in (oldest, self._silent_since) if since is not None), default=None)
        return 0.0 if began is None else time.monotonic() - max(began, self._outage_seen_at)

    async def stop(self, grace: float) -> None:
        """Refuse what is new, wait for Kafka's answers to the rest for so many seconds, and end."""
        self._stopping = True
        connection, self._connection = self._connection, None
        deadline = time.monotonic() + grace
        if connection is not None:
            await connection.drained(grace)
            await connection.retire(max(0.0, deadline - time.monotonic()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> None:
        """Find Kafka, however long it takes."""
        told = None
        for delay in delays(first=0.2, longest=2.0):
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    await self._open()
            except Moving as moving:
                self._problem, self._is_moving = str(moving), True
            except UnknownTopicOrPartitionError:
                self._problem = f"the topic {self._topic} does not exist; run `afterword migrate`"
            except (KafkaError, OSError, TimeoutError) as error:
                self._problem = (
                    f"Kafka at {self._settings.kafka_bootstrap_servers} does not answer: {error!r}"
                )
            else:
                self._problem, self._is_moving = None, False
                log.info("log opened", topic=self._topic, epoch=self.epoch)
                return
            if self._problem != told:
                told = self._problem
                log.warning("log not opened", problem=told)
            await asyncio.sleep(min(delay, MOVING_SECONDS) if self._is_moving else delay)

    async def _open(self) -> None:
        """Connect to the generation that takes events; Moving when none does, and what a producer raises."""
        self.generation = await destination(self._settings)
        self._connection = await open_connection(self._settings, self._topic, self._shares, self)

    @property
    def _topic(self) -> str:
        return Topology(self.generation).events.name

    async def _follow(self) -> None:
        """Leave a generation that takes no events any more, though none is sent that Kafka could refuse."""
        while True:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with admin(self._settings, "ingest-generation") as client:
                    while True:
                        await self._look(client)
                        await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, client: AIOKafkaAdminClient) -> None:
        connection, number = self._connection, self.generation
        if connection is not None and writable(await generations(client)) != number:
            self.refused(connection.producer)

    def lost(self) -> None:
        """Note that events were given up, for whoever sends several in order."""
        self.epoch += 1

    def refused(self, producer: Any) -> None:
        """Look for the generation that takes events now; what was not handed over is refused, too."""
        if self._connection is not None and self._connection.producer is producer:
            self._is_moving = True
            reason = f"{self._topic} takes no events any more"
            self._replace("refused", reason, grace=self._settings.ingest_deadline_seconds)

    def broken(self, producer: Any, reason: str) -> None:
        """Replace the producer that failed, unless that was done already."""
        if self._connection is not None and self._connection.producer is producer:
            self._replace("failed", reason, grace=self._settings.ingest_deadline_seconds)

    def _replace(self, label: str, reason: str, grace: float) -> None:
        connection, self._connection = self._connection, None
        if connection is None or self._stopping:
            return
        self._silent_since = None
        self.epoch += 1
        self._problem = f"the producer is being replaced: {reason}"
        PRODUCERS_REPLACED.labels(label).inc()
        tell = log.info if self._is_moving else log.error
        tell("producer replaced", reason=reason, unanswered_bytes=self._shares.used)
        connection.drop_queue(refused=self._is_moving)
        self._spawn(connection.retire(grace), "retire")
        self._spawn(self._connect(), "connect")

    async def _watch(self) -> None:
        """Replace a producer that hangs, and notice while nothing is sent that Kafka takes nothing."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._watched_at = time.monotonic()
            connection = self._connection
            if connection is None:
                self._silent_since = None
                continue
            answers = await connection.answers(PING_SECONDS)
            self._silent_since = None if answers else self._silent_since or time.monotonic()
            if self._is_doubtful(connection):
                await self._look_for_outage(connection)
            if connection is not self._connection:
                continue
            self._problem = self._outage or (None if answers else "the producer does not hear from Kafka")
            stuck = self._stuck_for()
            if stuck > self._settings.ingest_stalled_seconds:
                self._replace("stalled", f"no answer for {stuck:.0f} s, though Kafka gives some", grace=0)

    def _is_doubtful(self, connection: Connection) -> bool:
        """Tell whether there is a reason to ask a new client what Kafka can do: there is one now and then."""
        is_late = time.monotonic() - self._outage_asked_at > OUTAGE_SECONDS
        is_silent = self._silent_since is not None or self._age() > DOUBTFUL_SECONDS
        return is_late or is_silent or self._outage is not None or not connection.is_whole

    async def _look_for_outage(self, connection: Connection) -> None:
        before = self._outage
        self._outage = await kafka_outage(self._settings, "ingest-watch", connection.needs())
        self._outage_asked_at = time.monotonic()
        if self._outage is not None:
            self._outage_seen_at = time.monotonic()
            if before is None:
                log.warning("server stopped answering", server="Kafka", reason=self._outage)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"publisher {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a task that did its work; keep one that failed, for liveness to see."""
        with contextlib.suppress(asyncio.CancelledError):
            error = task.exception()
            if error is not None:
                log.error("publisher task failed", task=task.get_name(), exc_info=error)
                return
        self._tasks.discard(task)
