"""Runs one route, and restarts it after an error, independently of the other routes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer

from schemas.limits import MIB
from services.pipeline.core.continuity import ContinuityError, ContinuityFacts
from services.pipeline.survey import with_marks
from services.runtime.kafka.clients import FETCH_MIN_BYTES, FETCH_WAIT_MS, reader
from services.runtime.kafka.core.records import Partition
from services.runtime.retry import delays
from services.sink import metrics
from services.sink.consumer import RouteConsumer
from services.sink.core.batch import BatchLimits
from services.sink.core.routes import SinkRoute
from services.sink.settings import SinkSettings
from services.sink.store import SinkStore

log = structlog.get_logger()

SESSION_TIMEOUT_MS = 10_000
"""How long the group waits for a killed member before it reassigns its partitions."""
HEARTBEAT_INTERVAL_MS = 1_000
"""How soon a member learns of a rebalance, and releases its partitions."""
REBALANCE_TIMEOUT_MS = 30_000
LONGEST_PAUSE_SECONDS = 5.0
"""The longest delay before a failed route restarts."""
FETCH_MAX_BYTES = 16 * MIB
"""Of each route, twice: one fetch waits undecoded while rows are made of it, and the next is in flight."""


class RouteRunner:
    """A route, its store, and its current consumer."""

    def __init__(
        self, route: SinkRoute, settings: SinkSettings, store: SinkStore, wall_ms: Callable[[], int]
    ) -> None:
        self.route, self._settings, self._store, self._wall_ms = route, settings, store, wall_ms
        self._consumer: RouteConsumer | None = None
        self._failure: str | None = "not started yet"

    def assigned(self) -> frozenset[Partition]:
        """Return the partitions of the route that this process owns."""
        return self._consumer.assigned if self._consumer else frozenset()

    def waits_for_clickhouse(self) -> bool:
        """Return whether the route waits for ClickHouse."""
        return self._store.clickhouse.since is not None

    def complaint(self) -> str | None:
        """Return why the route stores nothing, or None."""
        servers = self._store.clickhouse.complaint() or self._store.kafka.complaint()
        return self._failure or servers or (self._consumer.complaint() if self._consumer else None)

    async def run(self, facts: ContinuityFacts, stop: asyncio.Event) -> None:
        """Run the route until `stop` is set; ContinuityError when its positions do not fit the log."""
        pauses = delays(first=1.0, longest=LONGEST_PAUSE_SECONDS)
        while not stop.is_set():
            try:
                await self._consume(facts, stop)
            except ContinuityError:
                raise
            except Exception as error:
                # A new consumer starts from what is stored, as a new process would.
                self._failure = f"failed, restarting: {error!r}"[:300]
                metrics.RESTARTS.labels(self.route.name).inc()
                log.exception("route failed", route=self.route.name)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), next(pauses))

    async def _consume(self, facts: ContinuityFacts, stop: asyncio.Event) -> None:
        limits = BatchLimits(
            rows=self._settings.sink_batch_rows,
            size=self._settings.sink_batch_bytes,
            seconds=self._settings.sink_flush_seconds,
        )
        self._consumer = RouteConsumer(
            self.route,
            self._new_consumer(),
            self._store,
            limits,
            facts,
            self._wall_ms,
            partial(with_marks, self._settings, f"afterword-sink-{self.route.name}-mark"),
            self._settings.sink_watch_seconds,
        )
        self._failure = None
        try:
            await self._consumer.run(stop)
        finally:
            self._consumer = None

    def _new_consumer(self) -> AIOKafkaConsumer:
        return reader(
            self._settings,
            f"afterword-sink-{self.route.name}",
            self.route.topics,
            whole=True,
            group_id=self.route.group,
            # A position outside of the log is an error: choosing another one would skip records.
            auto_offset_reset="none",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_MAX_BYTES,
        )
