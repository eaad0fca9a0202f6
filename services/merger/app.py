"""The merger as a Faust application: an agent on a stream of batches.

Faust acknowledges a message whose agent raised and goes on with the next, and aiokafka has been seen to
leak CancelledError when a broker dies, which Faust takes for a rebalance.  So no exception may leave the
agent: `die` ends the process before anything else happens, and its supervisor starts the next one, which
finds everything as it was committed last.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import structlog
from aiokafka.errors import KafkaError, ProducerFenced
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from services.merger.assignment import Worker
from services.merger.context import Setup
from services.merger.faust_transport import BatchApp, BatchSchema
from services.merger.offset_gaps import EventsLost
from services.merger.partition import TooManyBroken
from services.merger.startup_check import retention
from services.merger.watchdog import Stalled
from services.pipeline.core.continuity import ContinuityError
from services.pipeline.survey import admin, log_ranges
from services.runtime.kafka.raw_fetch import Fetched

log = structlog.get_logger()

FORGET_SECONDS = 3_600.0
_IDLE_TURNS = 24
"""Looking at every row is work for once a day."""
_SETTLE_SECONDS = 2.0
"""How long no partitions at all may be the answer of a group that does not know the topic yet."""
_FETCHED_BATCHES = 4
_REQUEST_SECONDS = 20.0
_SELF_EXPLAINING = (ContinuityError, EventsLost, TooManyBroken, ProducerFenced, Stalled)

Die = Callable[[str, BaseException], NoReturn]


def die(doing: str, error: BaseException) -> NoReturn:
    """End the process at once, leaving an open transaction to be rolled back."""
    trace = None if isinstance(error, _SELF_EXPLAINING) else error
    log.critical("merger ended", doing=doing, error=f"{type(error).__name__}: {error}", exc_info=trace)
    logging.shutdown()
    os._exit(1)


class Merger:
    """A Faust application with one agent, and the worker that the agent feeds.

    Build it inside the event loop that it runs on.
    """

    def __init__(self, setup: Setup, *, worker: Worker | None = None, end: Die = die) -> None:
        self.app = _app(setup)
        self.worker = worker or Worker(setup, lambda number: number in self.assigned())
        self.joined = False
        """Whether the group has given this process its partitions, be it none."""
        self._setup, self._end = setup, end
        self._openings: set[asyncio.Task[None]] = set()
        self._settled_at = 0.0
        self._forgets = 0
        self._listen()

    def assigned(self) -> set[int]:
        """Return the partitions that the group has given this process."""
        try:
            return {tp.partition for tp in self.app.consumer.assignment()}
        except ConsumerNotStarted:
            return set()

    def readiness(self) -> str | None:
        """Return what is being waited for."""
        if not self.joined or time.monotonic() < self._settled_at:
            return "waiting for the consumer group"
        waiting = self.worker.readiness()
        if waiting is None and not all(opening.done() for opening in self._openings):
            return "opening partitions"  # given by the group, and not begun with yet
        return waiting

    def _listen(self) -> None:
        app = self.app
        topic = app.topic(self._setup.topology.events.name, schema=BatchSchema())

        @app.agent(topic)
        async def merger(stream: Any) -> None:
            async for event in stream.events():
                await self._merge(event.message.tp, event.value)

        @app.on_partitions_revoked.connect
        async def revoked(_app: Any, /, *places: set[TP], **_options: Any) -> None:
            self.joined = False
            async with self._or_end("closing partitions"):
                await self.worker.release(tp.partition for tp in places[0])

        @app.on_partitions_assigned.connect
        async def assigned(_app: Any, /, *places: set[TP], **_options: Any) -> None:
            numbers = sorted(tp.partition for tp in places[0])
            log.info("partitions assigned", partitions=numbers)
            # Beside the stream: Faust waits for this function before it lets anything through.
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
        """Sleep, and tell whether that was the whole time: a stop ends it early."""
        await self.app.sleep(seconds)
        return not self.app.should_stop

    async def _open(self, number: int) -> None:
        async with self._or_end(f"opening partition {number}"):
            await self.worker.open(number)

    async def _merge(self, tp: TP, records: Fetched) -> None:
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
            await self.worker.forget_idle(kept, {place[1]: found.start for place, found in ranges.items()})
        self._forgets += 1

    @asynccontextmanager
    async def _or_end(self, doing: str) -> AsyncIterator[None]:
        """End the process on any exception in the block, but for being cancelled in an orderly stop."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self.app.should_stop:
                raise
            self._end(doing, error)


def _app(setup: Setup) -> BatchApp:
    settings, topology = setup.settings, setup.topology
    return BatchApp(
        topology.merger_group,
        broker=[f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")],
        datadir=setup.directory.path / "faust",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=max(settings.merger_fetch_bytes, topology.events.max_message_bytes),
        stream_buffer_maxsize=_FETCHED_BATCHES,
        broker_client_id="afterword-merger",
        broker_session_timeout=settings.merger_session_seconds,
        broker_heartbeat_interval=settings.merger_session_seconds / 10,
        broker_request_timeout=_REQUEST_SECONDS,
        broker_commit_interval=1.0,
    )
