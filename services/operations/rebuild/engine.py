"""ClickHouse as the command sees it: statements out, rows and failures in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.limits import MIB
from services.operations.dlq.tables import FAILURES
from services.operations.errors import clickhouse_failed
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.kinds import Kind
from services.operations.rebuild.core.steps import Found
from services.pipeline.core.continuity import Recorded
from services.pipeline.survey import recorded
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings

PATIENCE_SECONDS = 6 * 60 * 60.0
"""For one statement: copying what the log no longer has may take hours."""

_ANSWER = {"output_format_json_quote_64bit_integers": 0, "date_time_output_format": "iso"}
_CHANGE = {
    "async_insert": 0,
    "insert_deduplicate": 0,  # a replica would take the same block for a repeat, and leave it out
    "lightweight_deletes_sync": 2,
    "max_query_size": 16 * MIB,
    "join_algorithm": "full_sorting_merge",  # which goes to disk where memory ends
}


class Engine:
    """Questions and changes.  CommandError when ClickHouse refuses, UnreachableError when it is away."""

    def __init__(self, client: AsyncClient, settings: ClickHouseSettings) -> None:
        self._client, self.settings = client, settings

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """Return what a question answers."""
        settings = {**_ANSWER, "join_algorithm": _CHANGE["join_algorithm"]}
        try:
            answer = await self._client.raw_query(
                statement.sql, statement.parameters, settings=settings, fmt="JSONEachRow"
            )
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error
        return [orjson.loads(line) for line in answer.splitlines()]

    async def change(self, statement: Statement | str) -> None:
        """Change something; it is on disk when this returns."""
        asked = Statement(statement) if isinstance(statement, str) else statement
        try:
            await self._client.command(asked.sql, asked.parameters, settings=_CHANGE)
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error

    async def tables(self) -> dict[str, Found]:
        """Return every table and view by name."""
        rows = await self.rows(statements.tables())
        return {row["name"]: Found(row["uuid"], row["comment"], row["definition"]) for row in rows}

    async def columns(self, kind: Kind) -> list[str]:
        """Return the columns that rows of a table are inserted with."""
        return [row["name"] for row in await self.rows(statements.columns(kind.table))]

    async def sizes(self) -> dict[str, tuple[int, int]]:
        """Return bytes on disk and rows, old copies included, of each table that has any."""
        return {row["table"]: (row["bytes"], row["rows"]) for row in await self.rows(statements.sizes())}

    async def number(self, statement: Statement, name: str) -> int:
        """Return one number that a question answers."""
        return int((await self.rows(statement))[0][name])

    async def deployments(self) -> list[Recorded]:
        """Return which generations of topics the tables know."""
        try:
            return [*await recorded(self._client, self.settings.clickhouse_database)]
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error


@asynccontextmanager
async def engine(settings: ClickHouseSettings) -> AsyncIterator[Engine]:
    """Connect for the block."""
    try:
        client = await connect(settings, timeout_seconds=PATIENCE_SECONDS)
    except FAILURES as error:
        raise clickhouse_failed(error, settings) from error
    try:
        yield Engine(client, settings)
    finally:
        await client.close()
