"""Reads committed positions, log ends and topic settings: what must be there when the comparison begins."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.topics import Topology
from services.operations.database import Database
from services.operations.exits import UnreachableError
from services.operations.migrate.core.plan import FindingSeverity, TopicFinding, findings
from services.operations.migrate.core.retention import topic_settings as wishes
from services.operations.migrate.servers import describe_topics
from services.operations.verify.core import statements
from services.operations.verify.core.snapshot import KnownGeneration, LogPartition, LogSnapshot
from services.operations.verify.settings import VerifySettings
from services.pipeline.core.continuity import (
    ContinuityFacts,
    ContinuityProblem,
    HeldPosition,
    LogRange,
    Recorded,
    problems,
)
from services.pipeline.offsets import Offsets, offsets
from services.pipeline.survey import admin, cluster_id, partition_counts
from services.runtime.retry import delays
from services.runtime.settings import KafkaSettings

CLIENT = "afterword-verify"
SETTLE_SECONDS = 75.0
"""Longer than a transaction may last."""


async def promised(kafka: KafkaSettings, database: Database) -> LogSnapshot:
    """Return the positions as they are now, with the problems for which merger or sink would not start."""
    records = await database.deployments()
    async with admin(kafka, CLIENT) as client:
        cluster = await cluster_id(client)
        known = _generations(records, cluster, kafka.kafka_topic_generation)
        counts = await partition_counts(
            client, [topic.name for one in known for topic in one.topology.topics]
        )
    found = tuple(_present(one, counts) for one in known)
    names = [topic.name for one in found if one.is_here for topic in one.topology.topics]
    stored = {(topic, partition): position for topic, partition, position in await _stored(database, names)}
    merged: dict[LogPartition, int] = {}
    async with offsets(kafka, CLIENT) as asked:
        for one in found:
            if one.is_here:
                merged |= await asked.committed(one.topology.merger_group)
        logs = await _logs(asked, names)
        members = await asked.members(stage.group for stage in Topology(kafka.kafka_topic_generation).stages)
    snapshot = LogSnapshot(
        generations=found,
        in_use=kafka.kafka_topic_generation,
        merged=merged,
        stored=stored,
        logs=logs,
        members=members,
    )
    return replace(snapshot, problems=tuple(_problems(snapshot, cluster, records)))


def _generations(records: Sequence[Recorded], cluster: str, in_use: int) -> list[KnownGeneration]:
    """Return the generations that were recorded; those of another cluster are in ClickHouse alone."""
    known = [
        KnownGeneration(record.generation, record.partitions, is_here=record.cluster_id == cluster)
        for record in records
        if record.generation <= in_use
    ]
    if any(one.number == in_use for one in known):
        return known
    return [*known, KnownGeneration(in_use, 0, is_here=True)]


def _present(one: KnownGeneration, counts: Mapping[str, int]) -> KnownGeneration:
    partitions = counts.get(one.topology.events.name)
    return replace(
        one, is_here=one.is_here and partitions is not None, partitions=partitions or one.partitions
    )


async def _stored(database: Database, names: Sequence[str]) -> list[list[Any]]:
    return await database.ask(statements.positions(names)) if names else []


async def _logs(asked: Offsets, names: Iterable[str]) -> dict[LogPartition, LogRange]:
    places = await asked.partitions(names)
    if not places:
        return {}
    starts, ends = await asked.starts(places), await asked.ends(places)
    return {place: LogRange(starts[place], ends[place]) for place in places}


def _problems(
    snapshot: LogSnapshot, cluster: str, records: Sequence[Recorded]
) -> Iterable[ContinuityProblem]:
    """Return why merger or sink would not start."""
    topology = snapshot.current
    facts = ContinuityFacts(
        service="merger",
        generation=snapshot.in_use,
        cluster_id=cluster,
        recorded=next((record for record in records if record.generation == snapshot.in_use), None),
        paired=(topology.events.name, topology.state.name),
        log=snapshot.logs,
        positions=_held(snapshot.merged, "committed by the merger", topology.events.name),
    )
    found = problems(facts)
    names = [topic.name for topic in topology.topics]
    sink = replace(facts, service="sink", positions=_held(snapshot.stored, "stored in ClickHouse", *names))
    return found + [problem for problem in problems(sink) if problem not in found]


def _held(positions: Mapping[LogPartition, int], holder: str, *names: str) -> list[HeldPosition]:
    return [
        HeldPosition(holder, *place, offset)
        for place, offset in sorted(positions.items())
        if place[0] in names
    ]


async def settled(kafka: KafkaSettings, snapshot: LogSnapshot) -> None:
    """Return once the transactions that were open have ended, so that what is promised can be read."""
    ends = {
        place: log.end
        for place, log in snapshot.logs.items()
        if place[0] not in {generation.topology.events.name for generation in snapshot.generations}
    }
    if not ends:
        return
    async with offsets(kafka, CLIENT, committed=True) as asked:
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                for pause in delays(first=0.02, longest=1.0):
                    if _has_reached(await asked.ends(ends), ends):
                        return
                    await asyncio.sleep(pause)
        except TimeoutError as error:
            raise UnreachableError(
                "a transaction of the merger stays open, which blocks every reader: is a merger running?"
            ) from error


def _has_reached(now: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]) -> bool:
    return all(now[place] >= end for place, end in ends.items())


async def bounded(kafka: KafkaSettings, snapshot: LogSnapshot) -> LogSnapshot:
    """Return the snapshot with the current ends of the logs, states first, as their events are older."""
    names = [topic.name for one in snapshot.here for topic in one.topology.topics]
    events = {one.topology.events.name for one in snapshot.here}
    async with offsets(kafka, CLIENT, committed=True) as asked:
        others = await _logs(asked, [name for name in names if name not in events])
        return snapshot.with_logs(others | await _logs(asked, events))


async def starts(kafka: KafkaSettings, snapshot: LogSnapshot) -> dict[LogPartition, int]:
    """Return where the logs of events begin now; retention may have cut them since."""
    async with offsets(kafka, CLIENT) as asked:
        names = [one.topology.events.name for one in snapshot.here]
        return await asked.starts(place for place in snapshot.logs if place[0] in names)


async def topic_settings(kafka: VerifySettings, topology: Topology) -> list[TopicFinding]:
    """Return how the topics in use break a promise."""
    wished = wishes(kafka.wished(), topology)
    async with admin(kafka, CLIENT) as client:
        existing = await describe_topics(client, [topic.name for topic in topology.topics])
    if len(existing) < len(topology.topics):
        return []
    return [
        finding
        for finding in findings(topology, existing, None, wished)
        if finding.weight is FindingSeverity.WRONG
    ]
