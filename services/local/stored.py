"""Asks ClickHouse what is stored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import DEAD_LETTERS, FEEDBACK
from services.local.settings import StatusSettings
from services.pipeline.refusals import CURRENT
from services.runtime.clickhouse.client import connect

_QUERY = f"""
SELECT (SELECT count() FROM {FEEDBACK}),
       (SELECT count() FROM {DEAD_LETTERS} FINAL WHERE replayed_at IS NULL AND dropped_at IS NULL)
"""  # noqa: S608 (names of our own tables)


class Stored(NamedTuple):
    """Current rows, dead letters that nobody has replayed or dropped, and what merger and sink refuse."""

    rows: int
    dead_letters: int
    refusals: tuple[str, ...] = ()


class Tables:
    """ClickHouse's tables, counted.  ClickHouseError when it does not answer or has no such tables yet."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def count(self) -> Stored:
        """Return the counts now.  Exact, hence not free on a large table: do not ask in a tight loop."""
        result = await self._client.query(_QUERY)
        refused = await self._client.query(CURRENT)
        refusals = tuple(f"{service}: {text} {mend}" for service, _, text, mend in refused.result_rows)
        rows, dead_letters = result.result_rows[0]
        return Stored(rows, dead_letters, refusals)


@asynccontextmanager
async def tables(settings: StatusSettings) -> AsyncIterator[Tables]:
    """Connect to ClickHouse for the block."""
    client = await connect(settings)
    try:
        yield Tables(client)
    finally:
        await client.close()
