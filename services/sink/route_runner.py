"""One route as this process runs it: started again by itself when it fails, whatever the other routes do."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer

from schemas.limits import MIB
from services.pipeline.core.continuity import ContinuityError, ContinuityFacts
from services.pipeline.survey import with_marks
from services.runtime.core.backoff import delays
from services.runtime.kafka.clients import FETCH_MIN_BYTES, FETCH_WAIT_MS, reader
from services.runtime.kafka.core.records import Partition
from services.sink import metrics
from services.sink.consumer import Reader
from services.sink.core.batch import Limits
from services.sink.core.routes import Route
from services.sink.settings import SinkSettings
from services.sink.store import Store

log = structlog.get_logger()

SESSION_TIMEOUT_MS = 10_000
"""After a kill, the group waits so long for the dead member before another one gets its partitions."""
HEARTBEAT_INTERVAL_MS = 1_000
"""How soon a member hears that the group rebalances, and lets go of what it holds."""
REBALANCE_TIMEOUT_MS = 30_000
LONGEST_PAUSE_SECONDS = 5.0
"""Before a route that failed starts again, however often it has failed."""
FETCH_MAX_BYTES = 16 * MIB
"""Of each route: one fetch waits undecoded while rows are made of it, and the next one is on its way."""


class Lane:
    """A route, its store, and the reader that runs now."""

    def __init__(
        self, route: Route, settings: SinkSettings, store: Store, wall_ms: Callable[[], int]
    ) -> None:
        self.route, self._settings, self._store, self._wall_ms = route, settings, store, wall_ms
        self._reader: Reader | None = None
        self._failure: str | None = "it has not started yet"

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions that this process owns on the route."""
        return self._reader.assigned if self._reader else frozenset()

    def waits_for_clickhouse(self) -> bool:
        """Tell whether ClickHouse is what the route waits for."""
        return self._store.clickhouse.since is not None

    def complaint(self) -> str | None:
        """Return why what comes is not being stored, or None."""
        servers = self._store.clickhouse.complaint() or self._store.kafka.complaint()
        return self._failure or servers or (self._reader.complaint() if self._reader else None)

    async def run(self, facts: ContinuityFacts, stop: asyncio.Event) -> None:
        """Run the route until `stop` is set; ContinuityError when its positions do not fit the log."""
        pauses = delays(first=1.0, longest=LONGEST_PAUSE_SECONDS)
        while not stop.is_set():
            try:
                await self._read(facts, stop)
            except ContinuityError:
                raise
            except Exception as error:
                # A new reader starts from what is stored, as a new process would.
                self._failure = f"it failed and starts again: {error!r}"[:300]
                metrics.RESTARTS.labels(self.route.name).inc()
                log.exception("route failed", route=self.route.name)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), next(pauses))

    async def _read(self, facts: ContinuityFacts, stop: asyncio.Event) -> None:
        limits = Limits(
            rows=self._settings.sink_batch_rows,
            size=self._settings.sink_batch_bytes,
            seconds=self._settings.sink_flush_seconds,
        )
        self._reader = Reader(
            self.route,
            self._consumer(),
            self._store,
            limits,
            facts,
            self._wall_ms,
            partial(with_marks, self._settings, f"afterword-sink-{self.route.name}-mark"),
            self._settings.sink_watch_seconds,
        )
        self._failure = None
        try:
            await self._reader.run(stop)
        finally:
            self._reader = None

    def _consumer(self) -> AIOKafkaConsumer:
        return reader(
            self._settings,
            f"afterword-sink-{self.route.name}",
            self.route.topics,
            whole=True,
            group_id=self.route.group,
            # A position that left the log is an error: choosing another one would skip records.
            auto_offset_reset="none",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_MAX_BYTES,
        )
