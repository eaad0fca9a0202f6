"""Checks whether the sink may start: compares the positions in Kafka and ClickHouse with the log."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.topics import Topology
from services.pipeline.core.continuity import (
    ContinuityFacts,
    ContinuityProblem,
    HeldPosition,
    Recorded,
    problems,
    refuse,
)
from services.pipeline.refusals import standing
from services.pipeline.survey import (
    admin,
    cluster_id,
    committed,
    log_ranges,
    partition_counts,
    recorded,
    with_marks,
)
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.insert import RowWriter, StoredPosition, UnavailableError
from services.sink.core.routes import SinkRoute
from services.sink.settings import SinkSettings
from services.sink.store import Outage

CLIENT = "afterword-sink"


async def admit(
    settings: SinkSettings, routes: Sequence[SinkRoute], writer: RowWriter, outage: Outage
) -> ContinuityFacts:
    """Return the facts once both servers respond; ContinuityError when the sink must not start."""
    facts = await outage.outlast(
        lambda: gather(settings, routes, writer),
        KafkaError,
        ClickHouseError,
        UnavailableError,
        OSError,
        TimeoutError,
    )
    refuse(problems(facts))
    return replace(facts, refused=())


async def gather(settings: SinkSettings, routes: Sequence[SinkRoute], writer: RowWriter) -> ContinuityFacts:
    """Return what Kafka and ClickHouse report about every topic that the sink reads."""
    topology = Topology(settings.kafka_topic_generation)
    record, refused = await _record(settings)
    async with admin(settings, CLIENT) as client:
        cluster = await cluster_id(client)
        counts = await partition_counts(client, [topic.name for topic in topology.topics])
    # Positions first: other sinks continue meanwhile, and must not seem to be beyond an older end.
    positions = await _positions(settings, routes, counts, writer) if record else []
    facts = ContinuityFacts(
        service="sink",
        generation=topology.generation,
        cluster_id=cluster,
        recorded=record,
        paired=(topology.events.name, topology.state.name),
        log=await log_ranges(settings, CLIENT, counts),
        positions=positions,
        compacted=frozenset({topology.state.name}),
        refused=refused,
    )
    return await with_marks(settings, CLIENT, facts)


async def _record(settings: SinkSettings) -> tuple[Recorded | None, Sequence[ContinuityProblem]]:
    """Return the record of the generation, and the refusals in it."""
    # The default database: before `afterword migrate` there is no other.
    client = await connect(settings, database="default")
    try:
        generation = settings.kafka_topic_generation
        records = await recorded(client, settings.clickhouse_database)
        refused = await standing(client, settings.clickhouse_database, generation)
    finally:
        await client.close()
    return next((record for record in records if record.generation == generation), None), refused


async def _positions(
    settings: SinkSettings, routes: Sequence[SinkRoute], counts: Mapping[str, int], writer: RowWriter
) -> list[HeldPosition]:
    positions: list[HeldPosition] = []
    for route in routes:
        topics = [topic.name for topic in route.topics if topic.name in counts]
        for topic in topics:
            positions += await committed(settings, CLIENT, route.group, topic, counts[topic])
        positions += stored_positions(await writer.positions(topics))
    return positions


def stored_positions(stored: Mapping[tuple[str, int], StoredPosition]) -> list[HeldPosition]:
    """Return ClickHouse's positions in the form that is compared with the log."""
    return [
        HeldPosition("stored in ClickHouse", topic, partition, one.position, one.mark)
        for (topic, partition), one in stored.items()
    ]
