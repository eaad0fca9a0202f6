"""Tables for tests: a database that `afterword migrate` has prepared, and rows to put in it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import MIGRATIONS, migrations
from services.operations.migrate.servers import RECORD_OF_MIGRATIONS
from services.runtime.clickhouse.client import INSERT_SETTINGS, connect
from services.runtime.settings import ClickHouseSettings

_made: dict[str, list[str]] = {}
"""By server, the statements that make the tables as all migrations leave them."""


async def create_tables(settings: ClickHouseSettings) -> None:
    """Make all tables in the settings' database, which exists and is empty.

    Migrations that change a table take several times as long as making it as it is now: the first database
    of a server gets the migrations, and every other one what the server says that these have made.
    """
    client = await connect(settings)
    statements = [statement for migration in migrations() for statement in migration.statements]
    try:
        for statement in _made.get(settings.clickhouse_url, statements):
            await client.command(statement)
        if settings.clickhouse_url not in _made:
            found = await definitions(client, settings.clickhouse_database)
            order = [name for statement in statements for name in _NAMES.findall(statement)]
            _made[settings.clickhouse_url] = sorted(found.values(), key=lambda text: _place(text, order))
    finally:
        await client.close()


async def create_migrated(settings: ClickHouseSettings) -> None:
    """Make all tables and the record of the migrations, where there are none, as `migrate` would.

    It takes two seconds of processor time to make them by itself.
    """
    client = await connect(settings, database="default")
    try:
        await client.command(f"CREATE DATABASE IF NOT EXISTS {settings.clickhouse_database}")
        if await definitions(client, settings.clickhouse_database):
            return
        await create_tables(settings)
        client.database = settings.clickhouse_database
        await client.command(RECORD_OF_MIGRATIONS)
        applied = [[migration.number, migration.name, migration.checksum] for migration in migrations()]
        await client.insert(MIGRATIONS, applied, column_names=["number", "name", "checksum"])
    finally:
        await client.close()


async def definitions(client: AsyncClient, database: str) -> dict[str, str]:
    """Return what makes each table and view of a database, by name; the text names no database."""
    query = "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}"
    answer = await client.query(query, parameters={"database": database})
    return {name: re.sub(rf"(?<![\w.`]){database}\.", "", text) for name, text in answer.result_rows}


_NAMES = re.compile(r"\A(?:--.*\n|\s)*CREATE (?:OR REPLACE )?(?:TABLE|VIEW)(?: IF NOT EXISTS)? (\w+)")


def _place(definition: str, order: list[str]) -> int:
    """Return when a table or view is first made, so that views come after what they read."""
    (name,) = _NAMES.findall(definition)
    return order.index(name)


def state_row(request_id: str, revision: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a row as the sink sends it, with other values for some fields."""
    return {
        "revision": revision,
        "tenant": "default",
        "request_id": request_id,
        "version": revision,
        "first_received_at": "2026-11-22T08:00:00.123456Z",
        "last_received_at": "2026-11-22T09:00:00.123456Z",
        "sources": ["native"],
        "data": {},
        "request": {},
        **fields,
    }


async def insert(settings: ClickHouseSettings, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows as the sink does."""
    client = await connect(settings)
    try:
        body = b"\n".join(map(orjson.dumps, rows))
        await client.raw_insert(table, None, body, settings=dict(INSERT_SETTINGS), fmt="JSONEachRow")
    finally:
        await client.close()


async def rows(settings: ClickHouseSettings, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query in the settings' database."""
    client = await connect(settings)
    try:
        return [tuple(row) for row in (await client.query(query)).result_rows]
    finally:
        await client.close()


async def run(settings: ClickHouseSettings, statement: str) -> None:
    """Run a statement that answers nothing in the settings' database."""
    client = await connect(settings)
    try:
        await client.command(statement)
    finally:
        await client.close()
