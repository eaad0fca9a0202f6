"""`afterword sink accept-loss`: go on although records were deleted before they were stored.

The one thing the sink never does by itself.  Positions below the log's start are moved there, in Kafka and
in ClickHouse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.tables import SINK_POSITIONS
from schemas.topics import Topology
from services.pipeline.generations import resolved
from services.pipeline.survey import admin, committed, log_ranges, partition_counts
from services.runtime.clickhouse.insert import RowWriter, StoredPosition
from services.runtime.kafka.core.records import Partition
from services.runtime.kafka.lost_records import Agree, Loss, client_name, skip
from services.sink.core.routes import Route, routes
from services.sink.core.rows import position_line
from services.sink.settings import SinkSettings

SERVICE = "sink"
CLIENT = client_name(SERVICE)


@dataclass(frozen=True, kw_only=True)
class RouteLoss(Loss):
    """Offsets that are gone, and the route that has not stored them."""

    route: str


async def accept_loss(settings: SinkSettings, writer: RowWriter, agree: Agree) -> Sequence[RouteLoss]:
    """Show what is lost to `agree`, and go on without it if that returns True; what was accepted.

    StillRunningError while a sink is in a group; KafkaError, OSError or UnavailableError when a server
    does not answer.
    """
    settings = await resolved(settings, CLIENT)
    ways = routes(Topology(settings.kafka_topic_generation))
    stored = {route.name: await writer.positions([topic.name for topic in route.topics]) for route in ways}
    losses = await find(settings, ways, stored)
    if not losses or not agree(losses):
        return []
    for route in ways:
        own = [loss for loss in losses if loss.route == route.name]
        if own:
            # Kafka first: it refuses while a sink runs, and nothing has changed then.
            await skip(settings, SERVICE, route.group, own)
            await writer.insert(SINK_POSITIONS, [*_lines(own, stored[route.name])])
    return losses


async def find(
    settings: SinkSettings, ways: Sequence[Route], stored: dict[str, dict[Partition, StoredPosition]]
) -> list[RouteLoss]:
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
        RouteLoss(*place, first, ranges[place].start, route=route_name)
        for (route_name, place), first in lowest.items()
        if place in ranges and first < ranges[place].start
    ]


def _lines(losses: Iterable[RouteLoss], stored: dict[Partition, StoredPosition]) -> Iterable[bytes]:
    for loss in losses:
        known = stored.get((loss.topic, loss.partition))
        newest = known.newest_ms if known else 0
        yield position_line(loss.route, loss.topic, loss.partition, loss.start, newest)
