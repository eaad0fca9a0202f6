"""What the sink's stage measures: the engine alone, the sink as it is deployed, and the textbook's sink.

All store the same states in the same table, which is empty before each turn.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import Topology
from services.local.processes import Child, python_module
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.sink.runs import SinkProgram

_WITHIN = 300.0
_LOOK_SECONDS = 0.05


class Turn(NamedTuple):
    """What one turn of a contender took."""

    rate: float
    """Rows a second, from the first that are in the table to the last."""
    engine: float
    """The engine's processor time for a row, merges of that time included, in microseconds."""
    own: float
    """The contender's own."""


class Table:
    """The table that everybody stores in, and the engine behind it."""

    def __init__(self, settings: SinkSettings, engine: int) -> None:
        self.settings, self.engine = settings, psutil.Process(engine)

    async def empty(self) -> None:
        """Forget all rows, and where the sink was."""
        for name in (FEEDBACK_STATE, SINK_POSITIONS):
            await tables.run(self.settings, f"TRUNCATE TABLE {name}")

    async def turn(self, process: psutil.Process, rows: int, seconds: float = _WITHIN) -> Turn:
        """Wait for the first rows, then for all of them or until the time is over."""
        client = await connect(self.settings)  # one, since each asks the engine for much when it begins
        try:
            return await self._turn(partial(_count, client), process, rows, seconds)
        finally:
            await client.close()

    async def _turn(
        self, count: Callable[[], Awaitable[int]], process: psutil.Process, rows: int, seconds: float
    ) -> Turn:
        first = await eventually(count, within=_WITHIN, every=_LOOK_SECONDS)
        began, before, own = time.perf_counter(), _cpu(self.engine), _cpu(process)
        stored = first
        while stored < rows and time.perf_counter() - began < seconds:
            await asyncio.sleep(_LOOK_SECONDS)
            stored = await count()
        took, more = time.perf_counter() - began, max(1, stored - first)
        return Turn(
            more / took, (_cpu(self.engine) - before) / more * 1e6, (_cpu(process) - own) / more * 1e6
        )


async def _count(client: AsyncClient) -> int:
    """Return how many rows there are: from what the engine knows of its parts, which reads none."""
    return int((await client.query(f"SELECT count() FROM {FEEDBACK_STATE}")).result_rows[0][0])


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


async def by_the_engine(table: Table, bodies: Sequence[Sequence[bytes]]) -> Turn:
    """Insert the same bytes in batches of the same size, one after another, without Kafka."""
    await table.empty()
    writer, me = ClickHouseWriter(table.settings, 120), psutil.Process()
    await writer.insert(FEEDBACK_STATE, bodies[0])
    rest = sum(map(len, bodies[1:]))
    began, before, own = time.perf_counter(), _cpu(table.engine), _cpu(me)
    for body in bodies[1:]:
        await writer.insert(FEEDBACK_STATE, body)
    took = time.perf_counter() - began
    await writer.close()
    return Turn(rest / took, (_cpu(table.engine) - before) / rest * 1e6, (_cpu(me) - own) / rest * 1e6)


async def by_the_sink(table: Table, rows: int, home: Path) -> Turn:
    """Run the sink, which starts at the begin of the topic."""
    await table.empty()
    program = SinkProgram(table.settings, home)
    await program.start()
    try:
        assert program.child is not None
        return await table.turn(psutil.Process(program.child.pid), rows)
    finally:
        await program.stop()


async def by_the_textbook(table: Table, rows: int, seconds: float, home: Path) -> Turn:
    """Run the textbook's sink for some seconds; it continues at its position."""
    await table.empty()
    async with _textbook(table.settings, home) as process:
        return await table.turn(process, rows, seconds)


@asynccontextmanager
async def _textbook(settings: SinkSettings, home: Path) -> AsyncIterator[psutil.Process]:
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "CLICKHOUSE_URL": settings.clickhouse_url,
        "CLICKHOUSE_DATABASE": settings.clickhouse_database,
    }
    topic = Topology(settings.kafka_topic_generation).state.name
    child = Child(python_module("bench.sink.textbook", topic, environment=environment), home / "textbook.log")
    try:
        yield psutil.Process(child.pid)
    finally:
        child.kill()
        await asyncio.to_thread(child.wait)
