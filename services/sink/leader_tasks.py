"""Background work of the group's leader, the sink that owns the first partition of the events.

The tasks carry out erasures, sweep away erased rows that returned, and reconcile stored events with the log.
A new leader continues from what Kafka and ClickHouse hold, so nothing is handed over.  For some seconds after
a rebalance two sinks may run the same task, so it must be safe to run concurrently with itself, and its runs
short.  A task that fails is retried later; no route waits for one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.erasure.core.erasures import ErasureRecord
from services.erasure.log import log as open_log
from services.erasure.run import ErasureRun, ErasureSweep
from services.erasure.tables import ErasureTables
from services.erasure.tables import tables as open_tables
from services.reconciliation.continuous import Reconciliation
from services.reconciliation.core.missing_events import LookupRow
from services.runtime.clickhouse.client import connect
from services.runtime.retry import delays
from services.sink import metrics
from services.sink.core.rows import event_line
from services.sink.settings import SinkSettings
from services.sink.store import Sleep

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often a sink that is not the leader checks whether it is."""
MOST_SECONDS = 600.0
"""A run that takes longer is cancelled, and counts as failed."""
LONGEST_PAUSE_SECONDS = 10.0


async def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class LeaderTask:
    """One kind of work; `seconds` pass between the end of a run and the start of the next.

    `close` is called when the sink stops, to release what `work` keeps open between runs.
    """

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]
    close: Callable[[], Awaitable[None]] = _nothing


class LeaderTasks:
    """Runs every leader task concurrently, while this sink is the leader."""

    def __init__(
        self, tasks: Iterable[LeaderTask], is_leader: Callable[[], bool], sleep: Sleep = asyncio.sleep
    ) -> None:
        self._tasks, self._is_leader, self._sleep = tuple(tasks), is_leader, sleep

    async def run(self) -> None:
        """Run the tasks periodically until cancelled."""
        async with asyncio.TaskGroup() as group:
            for task in self._tasks:
                group.create_task(self._keep(task), name=f"leader task {task.name}")

    async def _keep(self, task: LeaderTask) -> None:
        try:
            await self._repeat(task)
        finally:
            await task.close()

    async def _repeat(self, task: LeaderTask) -> None:
        pauses = _pauses(task)
        while True:
            mine = self._is_leader()
            metrics.LEADER_TASK_TURN.labels(task.name).set(mine)
            if not mine:
                await self._sleep(LOOK_SECONDS)
            elif await _succeeds(task):
                pauses = _pauses(task)
                await self._sleep(task.seconds)
            else:
                await self._sleep(next(pauses))


async def _succeeds(task: LeaderTask) -> bool:
    metrics.LEADER_TASK_RUNS.labels(task.name).inc()
    try:
        async with asyncio.timeout(MOST_SECONDS):
            await task.work()
    except Exception as error:
        metrics.LEADER_TASK_FAILURES.labels(task.name).inc()
        log.warning("leader task failed", task=task.name, reason=repr(error)[:1_000], exc_info=True)
        return False
    return True


def _pauses(task: LeaderTask) -> Iterator[float]:
    first = max(1.0, task.seconds)
    return delays(first=first, longest=max(first, LONGEST_PAUSE_SECONDS))


ERASURE_WAIT_SECONDS = 30.0
"""How long one erasure may wait for the merger or for a route, before the next one is worked on."""


def erasure_tasks(settings: SinkSettings) -> Sequence[LeaderTask]:
    """Return the tasks that carry out erasures and sweep up after them."""
    tasks = _Erasures(settings)
    return (
        LeaderTask(
            name="erasures", seconds=settings.sink_erasure_seconds, work=tasks.carry_out, close=tasks.close
        ),
        LeaderTask(name="sweep", seconds=settings.sink_sweep_seconds, work=tasks.sweep),
    )


class _Erasures:
    def __init__(self, settings: SinkSettings) -> None:
        self._settings, self._sweep = settings, ErasureSweep()
        self._connected = AsyncExitStack()
        self._tables: ErasureTables | None = None

    async def carry_out(self) -> None:
        """Work on every erasure that is due, the oldest first."""
        try:
            if self._tables is None:
                # Kept open: connecting sends more queries to ClickHouse than a run does.
                self._tables = await self._connected.enter_async_context(open_tables(self._settings))
            await self._carry_out(self._tables)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection to ClickHouse."""
        self._tables = None
        await self._connected.aclose()

    async def _carry_out(self, tables: ErasureTables) -> None:
        erasures = await tables.open_erasures()
        now = await tables.now()
        _measure(erasures, now)
        due = [erasure for erasure in reversed(erasures) if erasure.is_due(now)]
        if due:
            async with open_log(self._settings) as kafka:
                for one in due:
                    _log_progress(await ErasureRun(tables, kafka, one, patience=ERASURE_WAIT_SECONDS).run())

    async def sweep(self) -> None:
        """Delete rows whose version is at or below an erase."""
        async with open_tables(self._settings) as tables, open_log(self._settings) as kafka:
            gone = await self._sweep.run(tables, kafka)
        for table, rows in gone.items():
            metrics.SWEPT.labels(table).inc(rows)
        if any(gone.values()):
            log.info("erased rows swept", **gone)


def _measure(erasures: Sequence[ErasureRecord], now: datetime) -> None:
    ages = [(now - erasure.asked_at).total_seconds() for erasure in erasures]
    metrics.ERASURES_OPEN.set(len(ages))
    metrics.ERASURES_OLDEST_SECONDS.set(max(ages, default=0))


def _log_progress(one: ErasureRecord) -> None:
    log.info(
        "erasure worked on",
        erasure=str(one.id),
        tenant=one.tenant,
        state=one.state,
        requests=len(one.request_ids),
        problem=one.problem or None,
    )


RECONCILIATION_SECONDS = 5.0


def reconciliation_tasks(settings: SinkSettings) -> Iterator[LeaderTask]:
    """Yield the task that verifies stored events, unless its rate is 0."""
    if settings.sink_reconcile_events_per_second:
        yield LeaderTask(
            name="reconciliation", seconds=RECONCILIATION_SECONDS, work=_Reconciliation(settings).step
        )


class _Reconciliation:
    """Connects to ClickHouse for each step, as steps are rare."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._walk = Reconciliation(
            settings, event_line, settings.sink_reconcile_events_per_second, time.time
        )

    async def step(self) -> None:
        client = await connect(self._settings)

        async def ask(sql: str) -> list[LookupRow]:
            return list((await client.query(sql)).result_rows)

        try:
            await self._walk.step(ask)
        finally:
            await client.close()
