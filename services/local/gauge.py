"""Reads the figures of a running pipeline: positions and rates from Kafka, counts from ClickHouse."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from aiokafka.errors import KafkaError
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.tables import DEAD_LETTERS, FEEDBACK
from services.local.core.flow import Flow, FlowRates, rates
from services.local.settings import StatusSettings
from services.local.watch import log
from services.pipeline.refusals import CURRENT
from services.runtime.clickhouse.client import connect

_QUERY = f"""
SELECT (SELECT count() FROM {FEEDBACK}),
       (SELECT count() FROM {DEAD_LETTERS} FINAL WHERE replayed_at IS NULL AND dropped_at IS NULL)
"""  # noqa: S608 (names of our own tables)


class StoredCounts(NamedTuple):
    """Current rows, dead letters neither replayed nor dropped, and why merger or sink refuse to work."""

    rows: int
    dead_letters: int
    refusals: tuple[str, ...] = ()


class TableCounts:
    """Counts rows of ClickHouse's tables."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def count(self) -> StoredCounts:
        """Return exact counts, which take time on a large table.

        ClickHouseError if ClickHouse does not answer or the tables do not exist yet.
        """
        result = await self._client.query(_QUERY)
        refused = await self._client.query(CURRENT)
        refusals = tuple(f"{service}: {text} {remedy}" for service, _, text, remedy in refused.result_rows)
        rows, dead_letters = result.result_rows[0]
        return StoredCounts(rows, dead_letters, refusals)


@asynccontextmanager
async def tables(settings: StatusSettings) -> AsyncIterator[TableCounts]:
    """Connect to ClickHouse for the block."""
    client = await connect(settings)
    try:
        yield TableCounts(client)
    finally:
        await client.close()


UNREACHABLE = (KafkaError, ClickHouseError, OSError, TimeoutError)
"""Errors while a server starts, stops or has no tables yet."""

_FLOW_SECONDS = 1.0
_RETRY_SECONDS = 2.0
_COUNT_SHARE = 0.05
"""The share of time spent on exact counts, so that they never become a load."""


class Gauge:
    """Reads figures while `run` runs.  `flow` is None until the first are read."""

    def __init__(self, settings: StatusSettings) -> None:
        self._settings = settings
        self._stored: StoredCounts | None = None
        self.flow: Flow | None = None
        self.rates = FlowRates()

    async def run(self) -> None:
        """Keep reading until cancelled, also while the servers are unavailable."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_retry_forever(self._follow_log))
            tasks.create_task(_retry_forever(self._follow_tables))

    async def _follow_log(self) -> None:
        async with log(self._settings) as kafka:
            while True:
                flow = await kafka.flow()
                self.rates = rates(self.flow, flow)
                self.flow = with_stored(flow, self._stored)
                await asyncio.sleep(_FLOW_SECONDS)

    async def _follow_tables(self) -> None:
        async with tables(self._settings) as counted:
            while True:
                began = time.monotonic()
                self._stored = await counted.count()
                took = time.monotonic() - began
                await asyncio.sleep(max(_FLOW_SECONDS, took / _COUNT_SHARE))


def with_stored(flow: Flow, stored: StoredCounts | None) -> Flow:
    """Return the flow with ClickHouse's counts, if they are known."""
    if stored is None:
        return flow
    return replace(flow, rows=stored.rows, dead_letters=stored.dead_letters)


async def _retry_forever(follow: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await follow()
        except UNREACHABLE:
            await asyncio.sleep(_RETRY_SECONDS)
