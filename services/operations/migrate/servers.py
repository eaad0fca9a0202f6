"""Calls of ClickHouse and Kafka: connecting, tables with their migrations, and topics."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from schemas.tables import DEPLOYMENTS, MIGRATIONS, Migration, migrations
from schemas.topics import Topic
from services.operations.exits import CommandError, UnreachableError
from services.operations.migrate.core.plan import AppliedMigration, ExistingTopic, pending
from services.pipeline.core.continuity import Recorded
from services.pipeline.survey import admin, brokers_and_copies
from services.runtime.clickhouse.client import connect
from services.runtime.kafka.core import topic_copies
from services.runtime.retry import delays, retry
from services.runtime.settings import ClickHouseSettings, KafkaSettings


@asynccontextmanager
async def connect_clickhouse(settings: ClickHouseSettings, deadline: float) -> AsyncIterator[AsyncClient]:
    """Yield a client of the default database; UnreachableError if it does not answer until the deadline.

    The deadline is a time of the running loop's clock.
    """
    client = await retry(lambda: _clickhouse(settings), (UnreachableError,), _pauses(deadline))
    try:
        yield client
    finally:
        await client.close()


async def _clickhouse(settings: ClickHouseSettings) -> AsyncClient:
    try:
        return await connect(settings, database="default")
    except ClickHouseError as error:
        place = f"ClickHouse at {settings.clickhouse_url}"
        if isinstance(error, Error) and error.code is not None:
            raise CommandError(f"{place} refuses {settings.clickhouse_user}: {error}") from error
        raise UnreachableError(
            f"{place} does not answer: is it running, and is CLICKHOUSE_URL right? (--wait waits for it)"
        ) from error


@asynccontextmanager
async def connect_kafka(settings: KafkaSettings, deadline: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield an admin client; UnreachableError if no broker answers until the deadline."""
    await retry(lambda: _kafka(settings), (UnreachableError,), _pauses(deadline))
    async with admin(settings, "afterword-migrate") as client:
        yield client


async def _kafka(settings: KafkaSettings) -> None:
    try:
        async with admin(settings, "afterword-migrate"):
            pass
    except KafkaConnectionError as error:
        raise UnreachableError(
            f"Kafka at {settings.kafka_bootstrap_servers} does not answer: is it running, and is"
            " KAFKA_BOOTSTRAP_SERVERS right? (--wait waits for it)"
        ) from error


def _pauses(deadline: float) -> Iterator[float]:
    """Yield the pauses that end before the deadline."""
    clock = asyncio.get_running_loop().time
    return takewhile(lambda seconds: clock() + seconds <= deadline, delays(longest=1.0))


_SET_FOR_THE_TOPIC = 1
"""Source of a setting: the topic itself, not the broker's configuration or its defaults."""


async def create_topics(
    client: AIOKafkaAdminClient,
    topics: Iterable[Topic],
    partitions: int,
    replica_count: int,
    configured: Mapping[str, Mapping[str, str]],
) -> None:
    """Create topics with their settings; those in `configured`, by topic, override the defaults.

    A topic that another migration has just created is not an error.
    """
    wanted = [
        NewTopic(
            topic.name,
            topic.partitions(partitions),
            replica_count,
            topic_configs={**topic.config(replica_count), **configured.get(topic.name, {})},
        )
        for topic in topics
    ]
    response = await client.create_topics(wanted)
    for name, code, *message in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{name}: {message[0] if message else ''}")


async def replica_count(client: AIOKafkaAdminClient, wished: int | None) -> int:
    """Return the replication factor of a new generation; CommandError if brokers for it are down."""
    found = await brokers_and_copies(client, ())
    count = topic_copies.wanted(wished, found)
    if why := topic_copies.shortage(count, found):
        raise CommandError(
            f"{why}. Topics keep the replicas that they are created with: start every broker first."
        )
    return count


async def describe_topics(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, ExistingTopic]:
    """Return the existing topics."""
    # Describes all topics: describing one by name could create it.
    described = {topic["topic"]: topic["partitions"] for topic in await client.describe_topics()}
    existing = {name: described[name] for name in names if described.get(name)}
    if not existing:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    responses = await client.describe_configs(resources)
    configs = {name: entries for response in responses for _, _, _, name, entries in response.resources}
    return {name: _existing(name, several, configs.get(name, ())) for name, several in existing.items()}


def _existing(name: str, partitions: Sequence[Any], entries: Iterable[Sequence[Any]]) -> ExistingTopic:
    config = {entry[0]: entry[1] for entry in entries}
    own = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_FOR_THE_TOPIC}
    return ExistingTopic(
        name, len(partitions), config, own, min(len(partition["replicas"]) for partition in partitions)
    )


async def alter_topic(client: AIOKafkaAdminClient, found: ExistingTopic, changes: Mapping[str, str]) -> None:
    """Change settings of a topic; all others stay."""
    # The whole set: settings that are not sent would fall back to the broker's default.
    wanted = ConfigResource(ConfigResourceType.TOPIC, found.name, {**found.overrides, **changes})
    for response in await client.alter_configs([wanted]):
        for code, message, *_ in response.resources:
            if code:
                raise for_code(code)(f"{found.name}: {message}")


async def broker_config(client: AIOKafkaAdminClient, broker: int) -> dict[str, str]:
    """Return one broker's settings."""
    (response,) = await client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker))])
    return {entry[0]: entry[1] for *_, entries in response.resources for entry in entries}


RECORD_OF_MIGRATIONS = f"""
CREATE TABLE IF NOT EXISTS {MIGRATIONS}
(
    number UInt32 COMMENT 'Number of the SQL file.',
    name String COMMENT 'Its name.',
    checksum String COMMENT 'SHA-256 of the file, in hex.',
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was applied.'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'The SQL files that `afterword migrate` applied.'
"""


async def apply_migrations(client: AsyncClient, database: str) -> AsyncIterator[tuple[Migration, bool]]:
    """Create the database and its tables; yield each migration and whether it was applied now."""
    await client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    client.database = database
    await client.command(RECORD_OF_MIGRATIONS)
    todo = pending(await _applied(client), migrations())
    for migration in migrations():
        if migration in todo:
            await _run(client, migration)
        yield migration, migration in todo


async def _applied(client: AsyncClient) -> list[AppliedMigration]:
    result = await client.query(f"SELECT number, name, checksum FROM {MIGRATIONS} FINAL ORDER BY number")  # noqa: S608
    return [AppliedMigration(*row) for row in result.result_rows]


async def _run(client: AsyncClient, migration: Migration) -> None:
    for statement in migration.statements:
        await client.command(statement)
    # Recorded last: after an interruption the whole file runs again, which each statement allows.
    await client.insert(
        MIGRATIONS,
        [[migration.number, migration.name, migration.checksum]],
        column_names=["number", "name", "checksum"],
    )


async def record_deployment(client: AsyncClient, deployment: Recorded) -> None:
    """Record which Kafka cluster has a generation of topics."""
    await client.insert(
        DEPLOYMENTS,
        [[deployment.generation, deployment.cluster_id, deployment.partitions]],
        column_names=["generation", "cluster_id", "partitions"],
    )
