"""`afterword sink accept-loss`: go on although records were deleted before they were stored.

The one thing the sink never does by itself.  Positions below the log's start are moved there, in Kafka and
in ClickHouse.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata

from schemas.tables import SINK_POSITIONS
from schemas.topics import Topology
from services.runtime.kafka import client_options
from services.runtime.survey import admin, committed, log_ranges, partition_counts
from services.sink.batch import Partition
from services.sink.routes import Route, routes
from services.sink.rows import position_line
from services.sink.settings import SinkSettings
from services.sink.writer import Stored, Writer

CLIENT = "afterword-sink-accept-loss"


class StillRunningError(Exception):
    """A sink is in the group, and its position cannot be moved under it."""


@dataclass(frozen=True)
class Loss:
    """Offsets from `first` to before `start` that are gone."""

    route: str
    topic: str
    partition: int
    first: int
    start: int

    def __str__(self) -> str:
        what = f"{self.start - self.first:,} offsets of {self.topic}/{self.partition}"
        return f"{what}: {self.first} to {self.start - 1}"


async def accept_loss(
    settings: SinkSettings, writer: Writer, agree: Callable[[Sequence[Loss]], bool]
) -> Sequence[Loss]:
    """Show what is lost to `agree`, and go on without it if that returns True; what was accepted.

    StillRunningError while a sink is in a group; KafkaError, OSError or UnavailableError when a server
    does not answer.
    """
    ways = routes(Topology(settings.kafka_topic_generation))
    stored = {route.name: await writer.positions([topic.name for topic in route.topics]) for route in ways}
    losses = await find(settings, ways, stored)
    if not losses or not agree(losses):
        return []
    for route in ways:
        own = [loss for loss in losses if loss.route == route.name]
        if own:
            # Kafka first: it refuses while a sink runs, and nothing has changed then.
            await _commit(settings, route, own)
            await writer.insert(SINK_POSITIONS, [*_lines(own, stored[route.name])])
    return losses


async def find(
    settings: SinkSettings, ways: Sequence[Route], stored: dict[str, dict[Partition, Stored]]
) -> list[Loss]:
    """Return what was deleted before it was stored, by the lower of both positions of each partition."""
    names = [topic.name for route in ways for topic in route.topics]
    async with admin(settings, CLIENT) as client:
        counts = await partition_counts(client, names)
    ranges = await log_ranges(settings, CLIENT, counts)
    lowest: dict[tuple[str, Partition], int] = {}
    for route in ways:
        held = [(place, one.position) for place, one in stored[route.name].items()]
        for topic in route.topics:
            found = await committed(settings, CLIENT, route.group, topic.name, counts.get(topic.name, 0))
            held += [((one.topic, one.partition), one.offset) for one in found]
        for place, offset in held:
            lowest[route.name, place] = min(offset, lowest.get((route.name, place), offset))
    return [
        Loss(route_name, *place, first, ranges[place].start)
        for (route_name, place), first in lowest.items()
        if place in ranges and first < ranges[place].start
    ]


async def _commit(settings: SinkSettings, route: Route, losses: Sequence[Loss]) -> None:
    offsets = {
        TopicPartition(loss.topic, loss.partition): OffsetAndMetadata(loss.start, "") for loss in losses
    }
    consumer = AIOKafkaConsumer(
        **client_options(settings, CLIENT), group_id=route.group, enable_auto_commit=False
    )
    consumer.assign(list(offsets))
    try:
        await consumer.start()
        await consumer.commit(offsets)
    except CommitFailedError as error:
        raise StillRunningError(f"stop every sink first: one is in the group {route.group}") from error
    finally:
        await consumer.stop()


def _lines(losses: Iterable[Loss], stored: dict[Partition, Stored]) -> Iterable[bytes]:
    for loss in losses:
        known = stored.get((loss.topic, loss.partition))
        newest = known.newest_ms if known else 0
        yield position_line(loss.route, loss.topic, loss.partition, loss.start, newest)
