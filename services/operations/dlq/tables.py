"""Dead letters in ClickHouse: read in pages, and marked."""

from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.limits import MIB
from services.operations.dlq.core import statements
from services.operations.dlq.core.dead_letter import DeadLetterContent, DeadLetterId, StoredDeadLetter
from services.operations.dlq.core.decisions import KnownVersion
from services.operations.dlq.core.statements import DeadLetterSelection
from services.operations.errors import clickhouse_failed
from services.pipeline.core.continuity import Recorded
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings

PAGE_LETTERS = 500
_ANSWER = {"output_format_json_quote_64bit_integers": 0}
_LONGEST_STATEMENT = 2 * MIB

FAILURES = (ClickHouseError, OSError, TimeoutError)


class DeadLetterTables:
    """Reads and marks dead letters.  CommandError if ClickHouse refuses, UnreachableError if it is down."""

    def __init__(self, client: AsyncClient, settings: ClickHouseSettings) -> None:
        self._client, self._settings = client, settings

    async def deployments(self) -> list[Recorded]:
        """Return the record of each generation of topics."""
        return [Recorded(**row) for row in await self._rows(statements.deployments())]

    async def count(self, selection: DeadLetterSelection) -> tuple[int, tuple[DeadLetterId, ...]]:
        """Return the number of selected ones, and the last one of each partition."""
        rows = await self._rows(statements.counts(selection))
        last = (DeadLetterId(row["dlq_topic"], row["dlq_partition"], row["last"]) for row in rows)
        return sum(row["letters"] for row in rows), tuple(last)

    async def newest(self, selection: DeadLetterSelection, limit: int) -> list[StoredDeadLetter]:
        """Return those that failed last, newest first; limit 0 is none."""
        return list(map(StoredDeadLetter.of, await self._rows(statements.newest(selection, limit))))

    async def pages(self, selection: DeadLetterSelection) -> AsyncIterator[list[StoredDeadLetter]]:
        """Yield all that are selected, in the order of their ids."""
        after = None
        while rows := await self._rows(statements.page(selection, after, PAGE_LETTERS)):
            yield list(map(StoredDeadLetter.of, rows))
            after = _id(rows[-1])

    async def contents(self, ids: Sequence[DeadLetterId]) -> dict[DeadLetterId, DeadLetterContent]:
        """Return the bytes of these; the caller limits how many."""
        rows = await self._rows(statements.contents(ids))
        return {
            _id(row): DeadLetterContent(
                b64decode(row["key"]), _bytes(row["value"]), _bytes(row["correction"])
            )
            for row in rows
        }

    async def places(self, ids: Sequence[DeadLetterId]) -> dict[tuple[str, str, int | None], KnownVersion]:
        """Return what is known of the versions of these, by tenant, request id and version."""
        rows = await self._rows(statements.latest_at_place(ids))
        return {
            (row["tenant"], row["request_id"], row["original_version"]): KnownVersion(
                DeadLetterId(*row["latest"]), datetime.fromtimestamp(row["first_failed_at"] / 1e6, UTC)
            )
            for row in rows
        }

    async def newest_copy(self, letter: StoredDeadLetter) -> int | None:
        """Return the position of the newest record with the version of a dead letter, None if unknown."""
        rows = await self._rows(statements.newest_copy(letter))
        return int(rows[0]["newest"]) if rows else None

    async def erased(self, ids: Sequence[DeadLetterId]) -> dict[tuple[str, str], int]:
        """Return up to which version the requests of these were erased."""
        rows = await self._rows(statements.erasures(ids))
        return {(row["tenant"], row["request_id"]): row["erased"] for row in rows}

    async def mark(self, statement: Statement) -> None:
        """Write marks; they are on disk when this returns."""
        settings = {"async_insert": 0, "max_query_size": _LONGEST_STATEMENT}
        try:
            await self._client.command(statement.sql, statement.parameters, settings=settings)
        except FAILURES as error:
            raise clickhouse_failed(error, self._settings) from error

    async def _rows(self, statement: Statement) -> list[dict[str, Any]]:
        try:
            answer = await self._client.raw_query(
                statement.sql, statement.parameters, settings=_ANSWER, fmt="JSONEachRow"
            )
        except FAILURES as error:
            raise clickhouse_failed(error, self._settings) from error
        return [orjson.loads(line) for line in answer.splitlines()]


@asynccontextmanager
async def dead_letter_tables(settings: ClickHouseSettings) -> AsyncIterator[DeadLetterTables]:
    """Connect for the block."""
    try:
        client = await connect(settings)
    except FAILURES as error:
        raise clickhouse_failed(error, settings) from error
    try:
        yield DeadLetterTables(client, settings)
    finally:
        await client.close()


def _id(row: dict[str, Any]) -> DeadLetterId:
    return DeadLetterId(row["dlq_topic"], row["dlq_partition"], row["dlq_offset"])


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
