"""ClickHouse for operators' commands: statements in, rows out, and errors that an operator can act on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import orjson
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.limits import MIB
from services.operations.core import system_tables
from services.operations.core.system_tables import LiveTable
from services.operations.errors import clickhouse_failed
from services.operations.exits import CommandError
from services.pipeline.core.continuity import Recorded
from services.pipeline.survey import recorded
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings

FAILURES = (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError)
PATIENCE_SECONDS = 6 * 60 * 60.0
"""For one statement: copying what the log no longer has may take hours."""

_ANSWER = {
    "output_format_json_quote_64bit_integers": 0,
    "date_time_output_format": "iso",
    "max_query_size": 16 * MIB,
    "join_algorithm": "full_sorting_merge",  # which goes to disk where memory ends
}
_CHANGE = {
    "async_insert": 0,
    "insert_deduplicate": 0,  # a replica would take the same block for a repeat, and leave it out
    "lightweight_deletes_sync": 2,
    "max_query_size": 16 * MIB,
    "join_algorithm": "full_sorting_merge",
}
_decode = msgspec.json.Decoder(list[Any]).decode


class Database:
    """Queries and changes.  CommandError when ClickHouse refuses, UnreachableError when it is unreachable."""

    def __init__(self, client: AsyncClient, settings: ClickHouseSettings) -> None:
        self._client, self.settings = client, settings

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """Return the rows of a query by column name."""
        try:
            answer = await self._client.raw_query(
                statement.sql, statement.parameters, settings=_ANSWER, fmt="JSONEachRow"
            )
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error
        return [orjson.loads(line) for line in answer.splitlines()]

    async def number(self, statement: Statement, name: str) -> int:
        """Return one column of a query's only row."""
        return int((await self.rows(statement))[0][name])

    async def ask(self, sql: str) -> list[list[Any]]:
        """Return the rows of a query as lists."""
        return [row async for row in self.stream(sql)]

    async def stream(self, sql: str) -> AsyncIterator[list[Any]]:
        """Yield the rows of a query as they arrive, however many they are."""
        try:
            stream = await self._client.raw_stream(sql, settings=_ANSWER, fmt="JSONCompactEachRow")
            async with stream:
                async for line in _lines(stream):
                    yield _decode(line)
        except msgspec.MsgspecError as error:
            raise CommandError(f"ClickHouse cut an answer short: {error}") from error
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error

    async def change(self, statement: Statement | str) -> None:
        """Run a statement that changes something; the change is on disk when this returns."""
        asked = Statement(statement) if isinstance(statement, str) else statement
        try:
            await self._client.command(asked.sql, asked.parameters, settings=_CHANGE)
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error

    async def tables(self) -> dict[str, LiveTable]:
        """Return every table and view by name."""
        rows = await self.rows(system_tables.tables())
        return {row["name"]: LiveTable(row["uuid"], row["comment"], row["definition"]) for row in rows}

    async def columns(self, table: str) -> list[str]:
        """Return the columns that rows of a table are inserted with."""
        return [row["name"] for row in await self.rows(system_tables.columns(table))]

    async def sizes(self) -> dict[str, tuple[int, int]]:
        """Return bytes on disk and rows, old copies included, of each table that has any."""
        return {row["table"]: (row["bytes"], row["rows"]) for row in await self.rows(system_tables.sizes())}

    async def deployments(self) -> list[Recorded]:
        """Return which generations of topics the tables know."""
        try:
            return [*await recorded(self._client, self.settings.clickhouse_database)]
        except FAILURES as error:
            raise clickhouse_failed(error, self.settings) from error


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for block in stream:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


@asynccontextmanager
async def connected(settings: ClickHouseSettings) -> AsyncIterator[Database]:
    """Connect for the block."""
    try:
        client = await connect(settings, timeout_seconds=PATIENCE_SECONDS)
    except FAILURES as error:
        raise clickhouse_failed(error, settings) from error
    try:
        yield Database(client, settings)
    finally:
        await client.close()
