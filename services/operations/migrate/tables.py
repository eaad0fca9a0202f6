"""Applies the numbered SQL files to ClickHouse, each once, and records that it did."""

from collections.abc import AsyncIterator

from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import DEPLOYMENTS, MIGRATIONS, Migration, migrations
from services.operations.migrate.core.plan import Applied, pending
from services.pipeline.core.continuity import Recorded

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


async def apply(client: AsyncClient, database: str) -> AsyncIterator[tuple[Migration, bool]]:
    """Make the database and its tables; yield each migration and whether it was applied just now."""
    await client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    client.database = database
    await client.command(RECORD_OF_MIGRATIONS)
    todo = pending(await _applied(client), migrations())
    for migration in migrations():
        if migration in todo:
            await _run(client, migration)
        yield migration, migration in todo


async def _applied(client: AsyncClient) -> list[Applied]:
    result = await client.query(f"SELECT number, name, checksum FROM {MIGRATIONS} FINAL ORDER BY number")  # noqa: S608
    return [Applied(*row) for row in result.result_rows]


async def _run(client: AsyncClient, migration: Migration) -> None:
    for statement in migration.statements:
        await client.command(statement)
    # Recorded last: a run that was cut off runs the whole file again, which each statement allows.
    await client.insert(
        MIGRATIONS,
        [[migration.number, migration.name, migration.checksum]],
        column_names=["number", "name", "checksum"],
    )


async def record(client: AsyncClient, deployment: Recorded) -> None:
    """Write down which Kafka cluster has a generation of topics."""
    await client.insert(
        DEPLOYMENTS,
        [[deployment.generation, deployment.cluster_id, deployment.partitions]],
        column_names=["generation", "cluster_id", "partitions"],
    )
