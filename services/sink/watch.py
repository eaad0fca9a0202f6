"""Looks at Kafka from outside of the readers: lag for metrics, and progress for liveness.

It has clients of its own, since a consumer that hangs cannot tell that it does.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.runtime.kafka import REQUEST_TIMEOUT_MS, connect, consumer
from services.runtime.settings import KafkaSettings
from services.runtime.survey import admin, partition_counts
from services.sink import metrics
from services.sink.batch import Partition
from services.sink.progress import Progress, Seen
from services.sink.routes import Route

log = structlog.get_logger()

_NOT_YET = "Kafka was not looked at yet"


@dataclass
class Watched:
    """What is known of one route.  `mine` returns the partitions that this process owns."""

    route: Route
    mine: Callable[[], frozenset[Partition]]
    excused: Callable[[], bool]
    """Whether the route waits for ClickHouse, so that standing still is right."""
    progress: Progress = field(default_factory=Progress)


class Watch:
    """Looks again and again until it is cancelled."""

    def __init__(
        self, settings: KafkaSettings, seconds: float, stall_seconds: float, watched: Sequence[Watched]
    ) -> None:
        self._settings, self._seconds, self._stall_seconds = settings, seconds, stall_seconds
        self._watched = watched
        self._clock = asyncio.get_running_loop().time
        self._complaint: str | None = _NOT_YET

    def rest(self) -> None:
        """Look no more, and blame nobody: the routes are stopped."""
        self._complaint = _NOT_YET

    def complaint(self) -> str | None:
        """Return what keeps it from looking, or None."""
        return self._complaint

    def stalled(self, watched: Watched) -> str | None:
        """Return how long a route has stood still for no good reason, or None."""
        still = watched.progress.still_for(self._clock())
        if self._complaint is not None or still < self._stall_seconds:
            return None
        return f"nothing was stored for {still:.0f} s, though there is something to read"

    async def run(self) -> None:
        """Look for ever; while Kafka does not answer, nobody is blamed for standing still."""
        for one in self._watched:
            one.progress = Progress(moved_at=self._clock())
        while True:
            try:
                await self._look_until_it_fails()
            except (KafkaError, OSError, TimeoutError) as error:
                if self._complaint is None:
                    log.warning("server stopped answering", server="Kafka", reason=repr(error))
                self._complaint = f"Kafka does not answer: {error!r}"
            await asyncio.sleep(self._seconds)

    async def _look_until_it_fails(self) -> None:
        async with admin(self._settings, "afterword-sink-watch") as client:
            asking = consumer(self._settings, "afterword-sink-watch", isolation_level="read_committed")
            try:
                await connect(asking)
                while True:
                    async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                        await self._look(client, asking)
                    self._complaint = None
                    await asyncio.sleep(self._seconds)
            finally:
                await asking.stop()

    async def _look(self, client: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        for one in self._watched:
            seen = await _seen(client, consumer, one.route)
            for partition in seen.ends:
                metrics.LAG.labels(one.route.name, *partition).set(seen.lag(partition))
            own = _of(seen, one.mine())
            one.progress = one.progress.after(own, self._clock(), excused=one.excused() or self._blind)

    @property
    def _blind(self) -> bool:
        return self._complaint is not None


async def _seen(client: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, route: Route) -> Seen:
    counts = await partition_counts(client, [topic.name for topic in route.topics])
    partitions = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    ends = await consumer.end_offsets(partitions)
    offsets = await client.list_consumer_group_offsets(route.group, partitions=partitions)
    committed = {one: offset.offset for one, offset in offsets.items() if offset.offset >= 0}
    return Seen(_plain(committed), _plain(ends))


def _plain(offsets: dict[TopicPartition, int]) -> dict[Partition, int]:
    return {(one.topic, one.partition): offset for one, offset in offsets.items()}


def _of(seen: Seen, mine: Iterable[Partition]) -> Seen:
    """Return what concerns this process; all of it if it owns nothing, since it may have lost its group."""
    own = set(mine) or set(seen.ends)
    return Seen(
        {one: offset for one, offset in seen.committed.items() if one in own},
        {one: offset for one, offset in seen.ends.items() if one in own},
    )
