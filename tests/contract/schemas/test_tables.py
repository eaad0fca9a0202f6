"""The short way to tables that tests take leads where the migrations lead."""

from schemas.tables import FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE, migrations
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, definitions


async def test_tables_for_tests_are_as_the_migrations_leave_them(
    clickhouse_settings: ClickHouseSettings,
) -> None:
    """Table by table, as the server writes them down: columns, keys, indexes, projections, comments."""
    database = clickhouse_settings.clickhouse_database
    short = clickhouse_settings.replace(clickhouse_database=f"{database}_short")
    client = await connect(clickhouse_settings)
    try:
        for migration in migrations():
            for statement in migration.statements:
                await client.command(statement)
        await client.command(f"CREATE DATABASE {short.clickhouse_database}")
        for _ in range(2):  # the first call on a server may still take the long way
            await client.command(f"DROP DATABASE {short.clickhouse_database}")
            await client.command(f"CREATE DATABASE {short.clickhouse_database}")
            await create_tables(short)
        migrated = await definitions(client, database)
        made = await definitions(client, short.clickhouse_database)
        await client.command(f"DROP DATABASE {short.clickhouse_database}")
    finally:
        await client.close()

    assert made == migrated
    assert {FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE} <= made.keys()
