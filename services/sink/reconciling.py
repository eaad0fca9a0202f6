"""The chore that looks whether everything is stored that should be: rarely busy, and never done."""

import time
from collections.abc import Iterator

from services.reconciliation.continuous import Reconciliation
from services.reconciliation.core.missing_events import LookupRow
from services.runtime.clickhouse.client import connect
from services.sink.core.rows import event_line
from services.sink.leader_tasks import Chore
from services.sink.settings import SinkSettings

SECONDS = 5.0


def reconciling(settings: SinkSettings) -> Iterator[Chore]:
    """Yield the chore, unless its rate is 0."""
    if settings.sink_reconcile_events_per_second:
        yield Chore(name="reconciliation", seconds=SECONDS, work=_Work(settings).step)


class _Work:
    """Connects anew for each step: they are rare."""

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
