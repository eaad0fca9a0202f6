"""The chores that erase: carry out what was asked for, and sweep away what comes back."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime

import structlog

from services.erasure.core.erasures import ErasureRecord
from services.erasure.log import log as open_log
from services.erasure.run import ErasureRun, ErasureSweep
from services.erasure.tables import ErasureTables
from services.erasure.tables import tables as open_tables
from services.sink import metrics
from services.sink.leader_tasks import Chore
from services.sink.settings import SinkSettings

log = structlog.get_logger()

PATIENCE_SECONDS = 30.0
"""How long one erasure may wait for the merger or for a route, before the next one has its turn."""


def erasing(settings: SinkSettings) -> Sequence[Chore]:
    """Return the chores of one sink."""
    chores = _Chores(settings)
    return (
        Chore(
            name="erasures", seconds=settings.sink_erasure_seconds, work=chores.carry_out, close=chores.close
        ),
        Chore(name="sweep", seconds=settings.sink_sweep_seconds, work=chores.sweep),
    )


class _Chores:
    def __init__(self, settings: SinkSettings) -> None:
        self._settings, self._sweep = settings, ErasureSweep()
        self._connected = AsyncExitStack()
        self._tables: ErasureTables | None = None

    async def carry_out(self) -> None:
        """Work at every erasure that is due, the oldest first."""
        try:
            if self._tables is None:
                # Kept, since a client that connects asks ClickHouse for more than this does.
                self._tables = await self._connected.enter_async_context(open_tables(self._settings))
            await self._carry_out(self._tables)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect."""
        self._tables = None
        await self._connected.aclose()

    async def _carry_out(self, tables: ErasureTables) -> None:
        erasures = await tables.open_erasures()
        now = await tables.now()
        _measure(erasures, now)
        due = [one for one in reversed(erasures) if one.is_due(now)]
        if due:
            async with open_log(self._settings) as kafka:
                for one in due:
                    _tell(await ErasureRun(tables, kafka, one, patience=PATIENCE_SECONDS).run())

    async def sweep(self) -> None:
        """Delete what lies at or below erases."""
        async with open_tables(self._settings) as tables, open_log(self._settings) as kafka:
            gone = await self._sweep.run(tables, kafka)
        for table, rows in gone.items():
            metrics.SWEPT.labels(table).inc(rows)
        if any(gone.values()):
            log.info("erased rows swept", **gone)


def _measure(erasures: Sequence[ErasureRecord], now: datetime) -> None:
    ages = [(now - one.asked_at).total_seconds() for one in erasures]
    metrics.ERASURES_OPEN.set(len(ages))
    metrics.ERASURES_OLDEST_SECONDS.set(max(ages, default=0))


def _tell(one: ErasureRecord) -> None:
    log.info(
        "erasure worked at",
        erasure=str(one.id),
        tenant=one.tenant,
        state=one.state,
        requests=len(one.request_ids),
        problem=one.problem or None,
    )
