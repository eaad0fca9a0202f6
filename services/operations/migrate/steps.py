"""The steps of a migration, in the order in which each may rely on the one before.

Tables first: they hold the record that tells whether these topics belong to them.  The record of this
generation is written last, when both sides are as they should be.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.topics import EVENTS_RETENTION_MS, Topology
from services.operations.migrate import tables, topics
from services.operations.migrate.connect import clickhouse, kafka
from services.operations.migrate.core.plan import (
    Existing,
    Finding,
    Weight,
    broker_findings,
    check_deployment,
    check_server,
    findings,
    replication,
)
from services.operations.migrate.core.retention import RETENTION, topic_settings, without
from services.operations.migrate.retention import Agree, Kept, keep_tables, keep_topics
from services.operations.migrate.settings import MigrateSettings
from services.pipeline.core.continuity import Recorded
from services.pipeline.core.generation_states import GenerationState, in_use
from services.pipeline.generations import generations
from services.pipeline.survey import brokers_and_copies, cluster_id, has_rows, recorded
from services.runtime.kafka.core import topic_copies

DONE, SAME = "done", "same"
VISIBLE_SECONDS = 30.0


@dataclass(frozen=True)
class Step:
    """One line of the report.  `mark` is done, same, wrong or note."""

    mark: str
    text: str
    mend: str = ""


def _never(_loss: str) -> bool:
    return False


async def run(
    settings: MigrateSettings, partitions: int | None, wait_seconds: float, agree: Agree = _never
) -> AsyncIterator[Step]:
    """Migrate, and tell each step as it is done.

    `partitions` None takes the settings' number for topics to create, and any number of those that exist.
    `agree` is asked before a shorter retention deletes anything.
    RefusedError stops before anything that could not be undone.
    """
    deadline = asyncio.get_running_loop().time() + wait_seconds
    async with clickhouse(settings, deadline) as client:
        check_server(str(client.server_version))
        yield Step(SAME, f"ClickHouse {client.server_version} at {settings.clickhouse_url}")
        async for step in _tables(client, settings.clickhouse_database):
            yield step
        async for kept in keep_tables(client, settings, agree):
            yield _kept(kept)
        async with kafka(settings, deadline) as admin:
            async for step in _topics(admin, client, settings, partitions, agree):
                yield step


async def _tables(client: AsyncClient, database: str) -> AsyncIterator[Step]:
    async for migration, applied in tables.apply(client, database):
        label = f"{database}: {migration.number:04} {migration.name.replace('_', ' ')}"
        yield Step(DONE, label) if applied else Step(SAME, f"{label} (already applied)")


async def _topics(
    admin: AIOKafkaAdminClient,
    client: AsyncClient,
    settings: MigrateSettings,
    partitions: int | None,
    agree: Agree,
) -> AsyncIterator[Step]:
    cluster, brokers = await cluster_id(admin), await brokers_and_copies(admin, ())
    yield Step(SAME, f"Kafka cluster {cluster}, {len(brokers.live)} broker(s) alive")
    found = await generations(admin)
    topology = Topology(settings.kafka_topic_generation if settings.is_generation_given else in_use(found))
    before = await topics.describe(admin, [topic.name for topic in topology.topics])
    missing = [topic for topic in topology.topics if topic.name not in before]
    records = await recorded(client, settings.clickhouse_database)
    check_deployment(
        records,
        topology.generation,
        cluster,
        [topic.name for topic in missing],
        settings.clickhouse_database,
        has_rows=await has_rows(client, settings.clickhouse_database),
        standing=next(
            (one.standing for one in found if one.number == topology.generation), GenerationState.OPEN
        ),
    )
    wished = topic_settings(settings.wished(), topology)
    if missing:
        replicas = replication(settings.kafka_replication_factor, brokers, agree)
        await topics.create(admin, missing, partitions or settings.kafka_partitions, replicas, wished)
    for topic in topology.topics:
        yield _told(topic.name, created=topic in missing)
    existing = await _visible(admin, topology)
    made = [one async for one in keep_topics(admin, client, settings, topology, dict(existing), agree)]
    for one in made:
        yield _kept(one)
        # Said once: what was just changed, or was not changed on purpose, is no finding.
        wished[one.change.place].pop(one.change.setting, None)
        existing[one.change.place] = without(existing[one.change.place], one.change.setting)
    for finding in findings(topology, existing, partitions, wished):
        yield _step(finding)
    events_ms = int(wished[topology.events.name].get(RETENTION, EVENTS_RETENTION_MS))
    for finding in broker_findings(await topics.broker_config(admin, min(brokers.live)), events_ms):
        yield _step(finding)
    now = await brokers_and_copies(admin, [topic.name for topic in topology.topics])
    for text in topic_copies.told(now):
        yield Step(SAME, text)
    for text, is_wrong in topic_copies.troubles(now):
        yield _step(Finding(Weight.WRONG if is_wrong else Weight.NOTE, text, _COPIES))
    deployment = Recorded(topology.generation, cluster, existing[topology.events.name].partitions)
    yield await _recorded(client, deployment, known=deployment in records)


_COPIES = (
    "Bring every broker back; kafka-reassign-partitions.sh gives a topic more copies. Raise"
    " min.insync.replicas only to less than the copies it has, else writes stop when a broker is away."
)


def _kept(kept: Kept) -> Step:
    text = kept.change.text + (f"; {kept.loss}" if kept.loss else "")
    if kept.made:
        return Step(DONE, text)
    return Step(
        Weight.NOTE.value,
        f"not done: {text}",
        f"`afterword migrate --yes` does it; or take {kept.change.variable} back.",
    )


def _told(name: str, *, created: bool) -> Step:
    return Step(DONE, f"topic {name} created") if created else Step(SAME, f"topic {name} (already there)")


async def _visible(admin: AIOKafkaAdminClient, topology: Topology) -> dict[str, Existing]:
    """Return all topics as they are; a broker may learn of a new one a moment after it was created."""
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            found = await topics.describe(admin, [topic.name for topic in topology.topics])
            if len(found) == len(topology.topics):
                return found
            await asyncio.sleep(0.1)


def _step(finding: Finding) -> Step:
    return Step(finding.weight.value, finding.text, finding.mend)


async def _recorded(client: AsyncClient, deployment: Recorded, *, known: bool) -> Step:
    text = f"these tables belong to generation {deployment.generation}, {deployment.partitions} partitions"
    if known:
        return Step(SAME, f"{text} (already recorded)")
    await tables.record(client, deployment)
    return Step(DONE, text)
