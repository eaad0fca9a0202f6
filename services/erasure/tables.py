"""ClickHouse as erasing needs it: erasures, rows at or below erases, and mutations that delete them."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import groupby, islice
from typing import Any, TypeVar
from uuid import UUID

import orjson
import stamina
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.limits import MIB
from schemas.tables import DEAD_LETTERS, ERASURES, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.erasure.core import leftovers, statements
from services.erasure.core.erasures import ErasureRecord
from services.erasure.core.statements import ErasureScope
from services.runtime.clickhouse.client import INSERT_SETTINGS, connect
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings

T = TypeVar("T")

Row = Mapping[str, Any]
Deletes = Callable[[Iterable[Row]], Iterator[Statement]]

MUTATION_SECONDS = 600.0
"""What one mutation may take; a longer one continues in ClickHouse, and the next attempt waits for it."""
BATCH = 5_000
"""Requests or dead letters of one mutation: each one rewrites the parts that it touches."""
_ANSWER = {
    "output_format_json_quote_64bit_integers": 0,
    "date_time_output_format": "iso",
    "join_use_nulls": 0,
}
_LONGEST_STATEMENT = 16 * MIB


class RowsNotDeletedError(Exception):
    """ClickHouse reported rows as deleted, and still has them."""


class MutationsRunningError(Exception):
    """Mutations of a table are under way; ours would only queue behind them."""


class ErasureTables:
    """Everything raises clickhouse_connect's errors when ClickHouse does not do its work."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def now(self) -> datetime:
        """Return what time it is at ClickHouse's."""
        ((now,),) = [row.values() for row in await self.rows(statements.now())]
        return datetime.fromisoformat(now)

    async def open_erasures(self) -> list[ErasureRecord]:
        """Return every erasure that is not verified, of any tenant."""
        return [ErasureRecord.of(row) for row in await self.rows(statements.erasures())]

    async def write(self, erasure: ErasureRecord) -> None:
        """Store an erasure as it is now."""
        line = orjson.dumps(erasure.row())
        await self._client.raw_insert(ERASURES, None, line, settings=dict(INSERT_SETTINGS), fmt="JSONEachRow")

    async def named(self, tenant: str, user: str) -> list[str]:
        """Return the requests that name a user and are not erased since."""
        return [row["request_id"] for row in await self.rows(statements.named(tenant, user))]

    async def erased_by(self, tenant: str, erasure: UUID) -> dict[str, datetime]:
        """Return the requests that this erasure has erased, and when that was appended to the log."""
        rows = await self.rows(statements.mine(tenant, erasure))
        return {row["request_id"]: datetime.fromisoformat(row["erased_at"]) for row in rows}

    async def count(self, tenant: str, request_ids: Sequence[str]) -> dict[str, int]:
        """Return how many rows each table has of these requests."""
        total: dict[str, int] = {}
        for part in batches(request_ids):
            for row in await self.rows(statements.count(tenant, part)):
                total[row["name"]] = total.get(row["name"], 0) + row["n"]
        return total

    async def number(self, statement: Statement) -> int:
        """Return the one number that a statement asks for."""
        (row,) = await self.rows(statement)
        return int(row["n"])

    async def left(self, scope: ErasureScope) -> dict[str, int]:
        """Return how many rows at or below erases each table still has."""
        events = await self.rows(leftovers.left_events(scope))
        states = await self.rows(leftovers.left_states(scope))
        return {
            FEEDBACK_EVENTS: sum(row["n"] for row in events),
            FEEDBACK_STATE: sum(row["n"] for row in states),
            DEAD_LETTERS: len(await self.rows(leftovers.left_letters(scope))),
        }

    async def delete(self, scope: ErasureScope, since: str | None = None) -> dict[str, int]:
        """Delete what `left` would count, `since` then or at all; return how many rows went, by table."""
        events = await self._emptied(
            FEEDBACK_EVENTS,
            leftovers.left_events(scope, since),
            partial(_by_request, leftovers.delete_events),
        )
        states = await self._emptied(
            FEEDBACK_STATE,
            leftovers.left_states(scope, since),
            partial(_by_request, leftovers.delete_states),
        )
        letters = await self._emptied(DEAD_LETTERS, leftovers.left_letters(scope, since), _by_place)
        return {FEEDBACK_EVENTS: events, FEEDBACK_STATE: states, DEAD_LETTERS: letters}

    async def _emptied(self, table: str, left: Statement, deletes: Deletes) -> int:
        """Delete until no row remains; return how many rows were deleted."""
        gone, before = 0, None
        while rows := await self.rows(left):
            if rows == before:
                raise RowsNotDeletedError(f"rows of {table} were deleted and are still there")
            for statement in deletes(rows):
                await self._mutate(table, statement)
            gone += sum(row.get("n", 1) for row in rows)
            before = rows
        return gone

    async def run(self, statement: Statement, **settings: int) -> None:
        """Run a statement that answers nothing."""
        await self._client.command(
            statement.sql,
            dict(statement.parameters),
            settings={"max_query_size": _LONGEST_STATEMENT, "async_insert": 0, **settings},
        )

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """Return the rows of an answer: times are RFC 3339 text, numbers are numbers."""
        answer = await self._client.raw_query(
            statement.sql, dict(statement.parameters), settings=_ANSWER, fmt="JSONEachRow"
        )
        return [orjson.loads(line) for line in answer.splitlines()]

    async def _mutate(self, table: str, statement: Statement) -> None:
        await self._idle(table)
        await self.run(statement, mutations_sync=2)

    @stamina.retry(
        on=MutationsRunningError, attempts=None, timeout=MUTATION_SECONDS, wait_initial=0.1, wait_max=2.0
    )
    async def _idle(self, table: str) -> None:
        """Wait until nothing mutates the table: what was cut off may still be at work."""
        if await self.number(leftovers.unfinished(table)):
            raise MutationsRunningError(f"ClickHouse still mutates {table}")


def _by_request(
    delete: Callable[[str, Mapping[str, int]], Statement], rows: Iterable[Row]
) -> Iterator[Statement]:
    for tenant, several in groupby(rows, key=lambda row: row["tenant"]):
        for part in batches([*several]):
            yield delete(tenant, {row["request_id"]: row["erased"] for row in part})


def _by_place(rows: Iterable[Row]) -> Iterator[Statement]:
    for place, several in groupby(rows, key=lambda row: (row["dlq_topic"], row["dlq_partition"])):
        for part in batches([row["dlq_offset"] for row in several]):
            yield leftovers.delete_letters(*place, part)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Cut items into lists that one statement takes."""
    rest = iter(items)
    while part := [*islice(rest, size)]:
        yield part


@asynccontextmanager
async def tables(settings: ClickHouseSettings) -> AsyncIterator[ErasureTables]:
    """Connect for the block."""
    client = await connect(settings, timeout_seconds=MUTATION_SECONDS)
    try:
        yield ErasureTables(client)
    finally:
        await client.close()
