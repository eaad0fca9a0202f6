"""The merger as a Faust application: one agent on the stream of fetched batches, and handlers of its signals.

Faust acknowledges a message whose agent raised an exception and continues with the next, and aiokafka has
been seen to leak CancelledError when a broker dies, which Faust takes for a rebalance.  So no exception may
leave the agent: `die` ends the process before anything is acknowledged, its supervisor starts the next one,
and that resumes from the last committed transaction.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import faust
import structlog
from aiokafka.errors import KafkaError, ProducerFenced
from faust.exceptions import ConsumerNotStarted
from faust.types import TP, StreamT

from services.merger.assignment import Worker
from services.merger.context import Setup
from services.merger.faust_transport import BatchApp, BatchSchema
from services.merger.partition import TooManyBroken
from services.merger.recovery import EventsLost
from services.merger.startup_check import retention
from services.merger.watchdog import Stalled
from services.pipeline.core.continuity import ContinuityError
from services.pipeline.survey import admin, log_ranges

log = structlog.get_logger()

FORGET_SECONDS = 3_600.0
_IDLE_TURNS = 24
"""Runs of `forget` between two searches for expired rows, which read every row."""
_SETTLE_SECONDS = 2.0
"""A group that does not know the topic yet may assign no partitions at first."""
_FETCHED_BATCHES = 4
_REQUEST_SECONDS = 20.0
_SELF_EXPLAINING = (ContinuityError, EventsLost, TooManyBroken, ProducerFenced, Stalled)

Die = Callable[[str, BaseException], NoReturn]


def die(doing: str, error: BaseException) -> NoReturn:
    """End the process at once; Kafka or the next owner rolls an open transaction back."""
    trace = None if isinstance(error, _SELF_EXPLAINING) else error
    log.critical("merger ended", doing=doing, error=f"{type(error).__name__}: {error}", exc_info=trace)
    logging.shutdown()
    os._exit(1)


class Merger:
    """A Faust application with one agent, and the worker to which the agent passes its batches.

    Build it inside the event loop that it runs on.
    """

    def __init__(self, setup: Setup, *, worker: Worker | None = None, end: Die = die) -> None:
        self.app = self.application(setup)
        self.worker = worker or Worker(setup, lambda number: number in self.assigned())
        self.joined = False
        """Whether the consumer group has assigned this process its partitions, even if none."""
        self._setup, self._end = setup, end
        self._openings: set[asyncio.Task[None]] = set()
        self._settled_at = 0.0
        self._forgets = 0
        self.define_agent()
        self._connect_signals()

    def application(self, setup: Setup) -> faust.App:
        """Return the Faust application, on the transport of batches."""
        return BatchApp(stream_buffer_maxsize=_FETCHED_BATCHES, **app_options(setup))

    def define_agent(self) -> None:
        """Define the agent: it merges each fetched batch, whose transaction commits the offset."""
        events = self.app.topic(self._setup.topology.events.name, schema=BatchSchema())

        @self.app.agent(events)
        async def merger(batches: StreamT[Any]) -> None:
            async for batch in batches.events():
                await self.merge(batch.message.tp, batch.value)

    def assigned(self) -> set[int]:
        """Return the partitions that the group has assigned to this process."""
        try:
            return {tp.partition for tp in self.app.consumer.assignment()}
        except ConsumerNotStarted:
            return set()

    def readiness(self) -> str | None:
        """Return what the merger waits for, None once it merges."""
        if not self.joined or time.monotonic() < self._settled_at:
            return "waiting for the consumer group"
        waiting = self.worker.readiness()
        if waiting is None and not all(opening.done() for opening in self._openings):
            return "opening partitions"  # assigned, but the worker has not begun with them yet
        return waiting

    def _connect_signals(self) -> None:
        app = self.app

        @app.on_partitions_revoked.connect
        async def revoked(_app: Any, /, *arguments: set[TP], **_options: Any) -> None:
            self.joined = False
            async with self._or_end("closing partitions"):
                await self.worker.release(tp.partition for tp in arguments[0])

        @app.on_partitions_assigned.connect
        async def assigned(_app: Any, /, *arguments: set[TP], **_options: Any) -> None:
            numbers = sorted(tp.partition for tp in arguments[0])
            log.info("partitions assigned", partitions=numbers)
            # In tasks: Faust delivers nothing until this handler returns.
            self._openings = {asyncio.create_task(self._open(number)) for number in numbers}
            self._settled_at = time.monotonic() + (0.0 if numbers else _SETTLE_SECONDS)
            self.joined = True

        @app.on_before_shutdown.connect
        async def stopping(_app: Any, /, *_args: Any, **_options: Any) -> None:
            async with self._or_end("stopping"):
                await self.worker.close()

        @app.task
        async def forget() -> None:
            while await self._slept(FORGET_SECONDS):
                async with self._or_end("forgetting rows"):
                    await self._forget()

    async def _slept(self, seconds: float) -> bool:
        """Sleep; False when a stop of the application ended that early."""
        await self.app.sleep(seconds)
        return not self.app.should_stop

    async def _open(self, number: int) -> None:
        async with self._or_end(f"opening partition {number}"):
            await self.worker.open(number)

    async def merge(self, tp: TP, records: Any) -> None:
        """Merge records of a partition, and end the process should that fail."""
        async with self._or_end(f"merging {tp.topic}/{tp.partition}"):
            await self.worker.merge(tp.partition, records)

    async def _forget(self) -> None:
        topology = self._setup.topology
        try:
            async with admin(self._setup.settings, "afterword-merger-forget") as client:
                kept = await retention(client, topology)
            events = {topology.events.name: self._setup.source(0).partitions}
            ranges = await log_ranges(self._setup.settings, "afterword-merger-forget", events)
        except KafkaError as error:
            log.warning("rows not forgotten this time", error=repr(error))
            return
        await self.worker.forget(kept)
        if self._forgets % _IDLE_TURNS == 0:
            starts = {partition: found.start for (_, partition), found in ranges.items()}
            await self.worker.forget_idle(kept, starts)
        self._forgets += 1

    @asynccontextmanager
    async def _or_end(self, doing: str) -> AsyncIterator[None]:
        """End the process on any exception in the block, except a cancellation by an orderly stop."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self.app.should_stop:
                raise
            self._end(doing, error)


def app_options(setup: Setup) -> dict[str, Any]:
    """Return the options of the Faust application that do not depend on its transport."""
    settings, topology = setup.settings, setup.topology
    return {
        "id": topology.merger_group,
        "broker": [f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")],
        "datadir": setup.directory.path / "faust",
        "web_enabled": False,
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": max(settings.merger_fetch_bytes, topology.events.max_message_bytes),
        "broker_client_id": "afterword-merger",
        "broker_session_timeout": settings.merger_session_seconds,
        "broker_heartbeat_interval": settings.merger_session_seconds / 10,
        "broker_request_timeout": _REQUEST_SECONDS,
        "broker_commit_interval": 1.0,
    }
