"""Watches the routes from outside of their consumers: lag for metrics, and progress for liveness.

It has Kafka clients of its own, since a consumer that hangs cannot report that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from services.pipeline.core.continuity import ContinuityFacts, problems, refuse
from services.pipeline.core.progress import RouteOffsets, RouteProgress
from services.pipeline.survey import admin, as_deployed, brokers_and_copies, partition_counts
from services.runtime.kafka.clients import connect, consumer
from services.runtime.kafka.core.outages import Needs
from services.runtime.kafka.core.records import Partition
from services.runtime.kafka.outage_probe import AWAY, PATIENCE_SECONDS, KeptClients, kafka_outage
from services.runtime.settings import KafkaSettings
from services.sink import metrics
from services.sink.core.routes import SinkRoute

log = structlog.get_logger()

_CLIENT = "afterword-sink-watch"
_NOT_YET = "Kafka was not checked yet"
_Clients = tuple[AIOKafkaAdminClient, AIOKafkaConsumer]


@dataclass
class WatchedRoute:
    """A route and its progress.  `owned` returns the partitions that this process owns."""

    route: SinkRoute
    owned: Callable[[], frozenset[Partition]]
    excused: Callable[[], bool]
    """Whether the route waits for ClickHouse, so that no progress is no stall."""
    progress: RouteProgress = field(default_factory=RouteProgress)


class SinkWatchdog:
    """Checks Kafka and the progress of all routes periodically."""

    def __init__(
        self, settings: KafkaSettings, seconds: float, stall_seconds: float, watched: Sequence[WatchedRoute]
    ) -> None:
        self._settings, self._seconds, self._stall_seconds = settings, seconds, stall_seconds
        self._watched = watched
        self._clock = asyncio.get_running_loop().time
        self._complaint: str | None = _NOT_YET
        self._kept = KeptClients(self._connected)

    def rest(self) -> None:
        """Count no stalls: the routes are stopped."""
        self._complaint = _NOT_YET

    def complaint(self) -> str | None:
        """Return why Kafka cannot serve the routes, or None."""
        return self._complaint

    def stalled(self, watched: WatchedRoute) -> str | None:
        """Return for how long a route has stalled, or None."""
        still = watched.progress.still_for(self._clock())
        if self._complaint is not None or still < self._stall_seconds:
            return None
        return f"nothing was stored for {still:.0f} s, although there are records to read"

    async def run(self, facts: ContinuityFacts | None = None) -> None:
        """Check until cancelled.  While Kafka cannot serve any client, stalls are not counted.

        ContinuityError when Kafka responds and is no longer the one of `facts`.
        """
        for one in self._watched:
            one.progress = RouteProgress(moved_at=self._clock())
        try:
            while True:
                await self._look()
                if self._complaint is not None and facts is not None:
                    await self._recognise(facts)
                await asyncio.sleep(self._seconds)
        finally:
            await self._kept.close()

    async def _look(self) -> None:
        outage = await kafka_outage(self._settings, _CLIENT, self._needs())
        if outage is None:
            try:
                seen = await self._kept.ask(self._all_offsets)
            except AWAY as error:
                outage = f"Kafka does not answer: {error!r}"
        if outage is None:
            self._judge(seen)
        else:
            for one in self._watched:
                one.progress = replace(one.progress, moved_at=self._clock())
            if self._complaint is None:
                log.warning("server stopped answering", server="Kafka", reason=outage)
        self._complaint = outage
        # Also in an outage, which a lost replica may cause.  Without an answer, metrics keep their values.
        with suppress(*AWAY):
            await self._kept.ask(self._measured)

    async def _measured(self, clients: _Clients) -> None:
        names = {topic.name for one in self._watched for topic in one.route.topics}
        for copies in (await brokers_and_copies(clients[0], sorted(names))).copies:
            metrics.COPIES_MISSING.labels(copies.topic).set(copies.lagging)
            metrics.COPIES_TOO_FEW.labels(copies.topic).set(copies.refusing)

    async def _recognise(self, facts: ContinuityFacts) -> None:
        """Refuse a Kafka that is another one or has other topics: waiting would not help."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await as_deployed(self._settings, _CLIENT, facts)
        except AWAY:
            return
        refuse(problems(found))

    def _needs(self) -> Needs:
        reads = {place for one in self._watched for place in one.owned() or one.progress.seen.ends}
        return Needs(reads=frozenset(reads), groups=tuple(one.route.group for one in self._watched))

    async def _all_offsets(self, clients: _Clients) -> list[RouteOffsets]:
        return [await _offsets(*clients, one.route) for one in self._watched]

    def _judge(self, seen: Sequence[RouteOffsets]) -> None:
        for one, now in zip(self._watched, seen, strict=True):
            for partition in now.ends:
                metrics.LAG.labels(one.route.name, *partition).set(now.lag(partition))
            own = _of(now, one.owned())
            one.progress = one.progress.after(own, self._clock(), excused=one.excused())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Clients]:
        async with admin(self._settings, _CLIENT) as client:
            asking = consumer(self._settings, _CLIENT, isolation_level="read_committed")
            try:
                await connect(asking)
                yield client, asking
            finally:
                await asking.stop()


async def _offsets(client: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, route: SinkRoute) -> RouteOffsets:
    counts = await partition_counts(client, [topic.name for topic in route.topics])
    partitions = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    ends = await consumer.end_offsets(partitions)
    offsets = await client.list_consumer_group_offsets(route.group, partitions=partitions)
    committed = {one: offset.offset for one, offset in offsets.items() if offset.offset >= 0}
    return RouteOffsets(_plain(committed), _plain(ends))


def _plain(offsets: dict[TopicPartition, int]) -> dict[Partition, int]:
    return {(one.topic, one.partition): offset for one, offset in offsets.items()}


def _of(seen: RouteOffsets, owned: Iterable[Partition]) -> RouteOffsets:
    """Return what concerns this process; all if it owns nothing, since it may have lost its group."""
    own = set(owned) or set(seen.ends)
    return RouteOffsets(
        {one: offset for one, offset in seen.committed.items() if one in own},
        {one: offset for one, offset in seen.ends.items() if one in own},
    )
