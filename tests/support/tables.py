"""Tables for tests: a database that `afterword migrate` has prepared, and rows to put in it."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from schemas.tables import migrations
from services.runtime.clickhouse import INSERT_SETTINGS, connect
from services.runtime.settings import ClickHouseSettings


async def create_tables(settings: ClickHouseSettings) -> None:
    """Make all tables in the settings' database, which exists."""
    client = await connect(settings)
    try:
        for migration in migrations():
            for statement in migration.statements:
                await client.command(statement)
    finally:
        await client.close()


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
