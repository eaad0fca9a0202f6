"""Keeps the newest figures of a running pipeline at hand: how far, how fast, how many rows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError

from services.local.core.flow import Flow, Rates, rates
from services.local.settings import StatusSettings
from services.local.stored import Stored, tables
from services.local.watch import log

UNREACHABLE = (KafkaError, ClickHouseError, OSError, TimeoutError)
"""What reading the figures may raise while a server starts, stops or has no tables yet."""

_FLOW_SECONDS = 1.0
_AGAIN_SECONDS = 2.0
_COUNT_SHARE = 0.05
"""Counting exactly may take this share of the time, so that it never becomes a load."""


class Gauge:
    """Reads figures for as long as `run` runs.  `flow` is None until there are some."""

    def __init__(self, settings: StatusSettings) -> None:
        self._settings = settings
        self._stored: Stored | None = None
        self.flow: Flow | None = None
        self.rates = Rates()

    async def run(self) -> None:
        """Keep reading, through whatever happens to the servers; it ends only when cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again(self._follow_log))
            tasks.create_task(_again_and_again(self._follow_tables))

    async def _follow_log(self) -> None:
        async with log(self._settings) as asked:
            while True:
                flow = await asked.flow()
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


def with_stored(flow: Flow, stored: Stored | None) -> Flow:
    """Return the flow with what ClickHouse knows, if it is known."""
    if stored is None:
        return flow
    return replace(flow, rows=stored.rows, dead_letters=stored.dead_letters)


async def _again_and_again(follow: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await follow()
        except UNREACHABLE:
            await asyncio.sleep(_AGAIN_SECONDS)
