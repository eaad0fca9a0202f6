"""`afterword sink accept-loss`: continue although records were deleted from the log before they were stored.

Only an operator can decide that.  Positions below the log's start are moved there, in Kafka and ClickHouse.
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
from services.sink.core.routes import SinkRoute, routes
from services.sink.core.rows import position_line
from services.sink.settings import SinkSettings

SERVICE = "sink"
CLIENT = client_name(SERVICE)


@dataclass(frozen=True, kw_only=True)
class RouteLoss(Loss):
    """Deleted offsets, and the route that has not stored them."""

    route: str


async def accept_loss(settings: SinkSettings, writer: RowWriter, agree: Agree) -> Sequence[RouteLoss]:
    """Pass the losses to `agree`, move the positions if it returns True, and return the losses accepted.

    StillRunningError while a sink is in a group; KafkaError, OSError or UnavailableError when a server
    does not answer.
    """
    settings = await resolved(settings, CLIENT)
    all_routes = routes(Topology(settings.kafka_topic_generation))
    stored = {
        route.name: await writer.positions([topic.name for topic in route.topics]) for route in all_routes
    }
    losses = await find(settings, all_routes, stored)
    if not losses or not agree(losses):
        return []
    for route in all_routes:
        own = [loss for loss in losses if loss.route == route.name]
        if own:
            # Kafka first: it refuses while a sink runs, before anything was changed.
            await skip(settings, SERVICE, route.group, own)
            await writer.insert(SINK_POSITIONS, [*_lines(own, stored[route.name])])
    return losses


async def find(
    settings: SinkSettings,
    all_routes: Sequence[SinkRoute],
    stored: dict[str, dict[Partition, StoredPosition]],
) -> list[RouteLoss]:
    """Return what was deleted before it was stored, by the lower of the two positions of each partition."""
    names = [topic.name for route in all_routes for topic in route.topics]
    async with admin(settings, CLIENT) as client:
        counts = await partition_counts(client, names)
    ranges = await log_ranges(settings, CLIENT, counts)
    lowest: dict[tuple[str, Partition], int] = {}
    for route in all_routes:
        held = [(partition, known.position) for partition, known in stored[route.name].items()]
        for topic in route.topics:
            group = await committed(settings, CLIENT, route.group, topic.name, counts.get(topic.name, 0))
            held += [((position.topic, position.partition), position.offset) for position in group]
        for partition, offset in held:
            lowest[route.name, partition] = min(offset, lowest.get((route.name, partition), offset))
    return [
        RouteLoss(*partition, first, ranges[partition].start, route=route_name)
        for (route_name, partition), first in lowest.items()
        if partition in ranges and first < ranges[partition].start
    ]


def _lines(losses: Iterable[RouteLoss], stored: dict[Partition, StoredPosition]) -> Iterable[bytes]:
    for loss in losses:
        known = stored.get((loss.topic, loss.partition))
        newest = known.newest_ms if known else 0
        yield position_line(loss.route, loss.topic, loss.partition, loss.start, newest)
