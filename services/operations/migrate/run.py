"""A migration: its steps, in an order in which each can rely on those before, and their report.

Tables first: they record which topics belong to them.  The record of this generation is written last, when
tables and topics are as they should be.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, KafkaTimeoutError
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.markup import escape

from schemas.topics import EVENTS_RETENTION_MS, Topology
from services.operations.exits import CommandError, UnreachableError
from services.operations.migrate.core.plan import (
    ExistingTopic,
    FindingSeverity,
    NeedsRecoveryError,
    TopicFinding,
    broker_findings,
    check_deployment,
    check_server,
    findings,
    replication,
)
from services.operations.migrate.core.retention import RETENTION, topic_settings, without
from services.operations.migrate.retention import Agree, RetentionOutcome, keep_tables, keep_topics
from services.operations.migrate.servers import (
    apply_migrations,
    broker_config,
    connect_clickhouse,
    connect_kafka,
    create_topics,
    describe_topics,
    record_deployment,
)
from services.operations.migrate.settings import MigrateSettings
from services.pipeline.core.continuity import Recorded
from services.pipeline.core.generation_states import GenerationState, in_use
from services.pipeline.generations import generations
from services.pipeline.survey import brokers_and_copies, cluster_id, has_rows, recorded
from services.runtime.kafka.core import topic_copies
from services.runtime.settings import load

DONE, SAME = "done", "same"
_MARKS = {"done": "[green]✓[/]", "same": "[dim]·[/]", "wrong": "[red]✗[/]", "note": "[yellow]![/]"}
VISIBLE_SECONDS = 30.0


@dataclass(frozen=True)
class MigrationStep:
    """One line of the report.  `mark` is done, same, wrong or note."""

    mark: str
    text: str
    remedy: str = ""


def _never(_loss: str) -> bool:
    return False


async def migration_steps(
    settings: MigrateSettings, partitions: int | None, wait_seconds: float, agree: Agree = _never
) -> AsyncIterator[MigrationStep]:
    """Migrate, and yield each step once it is done.

    `partitions` None takes the settings' number for topics to create, and any number of those that exist.
    `agree` is called before a shorter retention deletes anything.
    MigrationRefusedError stops before anything that could not be undone.
    """
    deadline = asyncio.get_running_loop().time() + wait_seconds
    async with connect_clickhouse(settings, deadline) as client:
        check_server(str(client.server_version))
        yield MigrationStep(SAME, f"ClickHouse {client.server_version} at {settings.clickhouse_url}")
        async for step in _tables(client, settings.clickhouse_database):
            yield step
        async for kept in keep_tables(client, settings, agree):
            yield _kept(kept)
        async with connect_kafka(settings, deadline) as admin:
            async for step in _topics(admin, client, settings, partitions, agree):
                yield step


async def _tables(client: AsyncClient, database: str) -> AsyncIterator[MigrationStep]:
    async for migration, applied in apply_migrations(client, database):
        label = f"{database}: {migration.number:04} {migration.name.replace('_', ' ')}"
        yield MigrationStep(DONE, label) if applied else MigrationStep(SAME, f"{label} (already applied)")


async def _topics(
    admin: AIOKafkaAdminClient,
    client: AsyncClient,
    settings: MigrateSettings,
    partitions: int | None,
    agree: Agree,
) -> AsyncIterator[MigrationStep]:
    cluster, brokers = await cluster_id(admin), await brokers_and_copies(admin, ())
    yield MigrationStep(SAME, f"Kafka cluster {cluster}, {len(brokers.live)} broker(s) alive")
    found = await generations(admin)
    topology = Topology(settings.kafka_topic_generation if settings.is_generation_given else in_use(found))
    before = await describe_topics(admin, [topic.name for topic in topology.topics])
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
    configured = topic_settings(settings.wished(), topology)
    if missing:
        replicas = replication(settings.kafka_replication_factor, brokers, agree)
        await create_topics(admin, missing, partitions or settings.kafka_partitions, replicas, configured)
    for topic in topology.topics:
        yield _created(topic.name, created=topic in missing)
    existing = await _visible(admin, topology)
    made = [one async for one in keep_topics(admin, client, settings, topology, dict(existing), agree)]
    for one in made:
        yield _kept(one)
        # Not reported twice: a setting that was just changed, or deliberately not, is not a finding.
        configured[one.change.place].pop(one.change.setting, None)
        existing[one.change.place] = without(existing[one.change.place], one.change.setting)
    for finding in findings(topology, existing, partitions, configured):
        yield _step(finding)
    events_ms = int(configured[topology.events.name].get(RETENTION, EVENTS_RETENTION_MS))
    for finding in broker_findings(await broker_config(admin, min(brokers.live)), events_ms):
        yield _step(finding)
    now = await brokers_and_copies(admin, [topic.name for topic in topology.topics])
    for text in topic_copies.descriptions(now):
        yield MigrationStep(SAME, text)
    for text, is_wrong in topic_copies.troubles(now):
        yield _step(TopicFinding(FindingSeverity.WRONG if is_wrong else FindingSeverity.NOTE, text, _COPIES))
    deployment = Recorded(topology.generation, cluster, existing[topology.events.name].partitions)
    yield await _recorded(client, deployment, known=deployment in records)


_COPIES = (
    "Start every broker; kafka-reassign-partitions.sh gives a topic more copies. Raise"
    " min.insync.replicas only to less than the number of copies, else writes stop when a broker is down."
)


def _kept(kept: RetentionOutcome) -> MigrationStep:
    text = kept.change.text + (f"; {kept.loss}" if kept.loss else "")
    if kept.made:
        return MigrationStep(DONE, text)
    return MigrationStep(
        FindingSeverity.NOTE.value,
        f"not done: {text}",
        f"`afterword migrate --yes` does it; or unset {kept.change.variable}.",
    )


def _created(name: str, *, created: bool) -> MigrationStep:
    return (
        MigrationStep(DONE, f"topic {name} created")
        if created
        else MigrationStep(SAME, f"topic {name} (already there)")
    )


async def _visible(admin: AIOKafkaAdminClient, topology: Topology) -> dict[str, ExistingTopic]:
    """Return all topics as they are; brokers see a new topic a moment after it was created."""
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            found = await describe_topics(admin, [topic.name for topic in topology.topics])
            if len(found) == len(topology.topics):
                return found
            await asyncio.sleep(0.1)


def _step(finding: TopicFinding) -> MigrationStep:
    return MigrationStep(finding.weight.value, finding.text, finding.remedy)


async def _recorded(client: AsyncClient, deployment: Recorded, *, known: bool) -> MigrationStep:
    text = f"these tables belong to generation {deployment.generation}, {deployment.partitions} partitions"
    if known:
        return MigrationStep(SAME, f"{text} (already recorded)")
    await record_deployment(client, deployment)
    return MigrationStep(DONE, text)


def migrate(
    console: Console,
    settings: MigrateSettings,
    partitions: int | None,
    wait: float,
    done: dict[str, Any],
    *,
    sure: bool,
    recover: bool,
) -> bool:
    """Migrate, print each step, and return whether everything is as it should be.

    With `recover`, a recovery is run where one is needed, and then the migration again.  Texts of changes are
    added to `done["changed"]`, for the audit log.
    """
    try:
        return asyncio.run(_run(console, settings, partitions, wait, done, sure=sure))
    except NeedsRecoveryError as error:
        if not recover:
            raise
        # Imported here: a migration does not need what a recovery imports.
        from services.operations.recover.run import RecoverOptions  # noqa: PLC0415
        from services.operations.recover.run import recover as run_recovery  # noqa: PLC0415
        from services.operations.recover.settings import RecoverSettings  # noqa: PLC0415

        console.print(step_line(MigrationStep(FindingSeverity.NOTE.value, str(error))))
        asyncio.run(
            run_recovery(load(RecoverSettings), RecoverOptions(partitions=partitions), lambda _question: True)
        )
    return asyncio.run(_run(console, settings, None, wait, done, sure=sure))


async def _run(
    console: Console,
    settings: MigrateSettings,
    partitions: int | None,
    wait: float,
    done: dict[str, Any],
    *,
    sure: bool,
) -> bool:
    sound = True
    changed = done.setdefault("changed", [])
    with console.status("Migrating") as status:

        def agree(loss: str) -> bool:
            if sure or not sys.stdin.isatty():
                return sure
            status.stop()
            agreed = typer.confirm(f"{loss} Continue?")
            status.start()
            return agreed

        async for step in migration_steps(settings, partitions, wait, agree):
            console.print(step_line(step))
            if step.mark == DONE:
                changed.append(step.text)
            sound = sound and step.mark != FindingSeverity.WRONG.value
    return sound


def step_line(step: MigrationStep) -> str:
    """Return a step as a line of Rich markup, with its remedy below."""
    remedy = f"\n    {escape(step.remedy)}" if step.remedy else ""
    return f"{_MARKS[step.mark]} {escape(step.text)}{remedy}"


def migration_error(error: Exception) -> CommandError:
    """Return the error of a server: refused, or unreachable in the middle of the migration."""
    if isinstance(error, ClickHouseError):
        refused = getattr(error, "code", None) is not None
        name = "ClickHouse"
    else:
        refused = isinstance(error, KafkaError) and not (
            error.retriable or isinstance(error, KafkaTimeoutError)
        )
        name = "Kafka"
    if refused:
        return CommandError(f"{name} refuses: {error}")
    return UnreachableError(f"{name} stopped answering: {error!r}. Run the same command again to resume.")
