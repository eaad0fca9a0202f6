"""The sink's life: say that it is there, ask whether it may start, run every route, stop them all.

Only positions that do not fit the log stop it, since starting again cannot mend those.  Where a new
generation of the topics ends that, the process waits for it; else it ends.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from schemas.topics import EVENTS_ROUTE, Topology
from services.pipeline.core.continuity import ContinuityError
from services.pipeline.generations import resolved, superseded
from services.pipeline.refusals import AGAIN_SECONDS, Refusals
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.runtime.http.health import Health, probe_app, serve
from services.sink import metrics
from services.sink.core.routes import Route, routes
from services.sink.dead_letters import KafkaDeadLetters
from services.sink.erasing import erasing
from services.sink.leader_tasks import Chores
from services.sink.outage import Outage
from services.sink.reconciling import reconciling
from services.sink.route_runner import Lane
from services.sink.settings import SinkSettings
from services.sink.startup_check import CLIENT, admit
from services.sink.store import Store
from services.sink.watchdog import Watch, Watched

log = structlog.get_logger()

STOP_SECONDS = 8.0
"""Within which a stop ends, whatever hangs: supervisors kill after 10."""


async def run(settings: SinkSettings, stop: asyncio.Event) -> bool:
    """Run until `stop` is set, or until a newer generation of the topics is in use: whether one is.

    ContinuityError when the sink must not go on, OSError when a port is taken.
    """
    start = _outage("Kafka or ClickHouse", "all")
    health = Health(readiness={"start": start.complaint})
    moved = asyncio.Event()
    async with AsyncExitStack() as stack:
        address = (settings.sink_metrics_host, settings.sink_metrics_port)
        port = await stack.enter_async_context(serve(probe_app(health), *address))
        log.info("sink started", health=f"http://{settings.sink_metrics_host}:{port}/readyz")
        await _until(stop, health, _found_and_worked(settings, health, start, stop, moved, stack))
        log.info("sink stopped")
    return moved.is_set()


async def _found_and_worked(
    given: SinkSettings,
    health: Health,
    start: Outage,
    stop: asyncio.Event,
    moved: asyncio.Event,
    stack: AsyncExitStack,
) -> None:
    """Find the generation in use and work on it, until `stop` is set, by whomever.

    A log that lost records is refused for as long as it takes: ready is what the sink is not meanwhile.
    """
    away = (KafkaError, OSError, TimeoutError)
    settings = await start.outlast(lambda: resolved(given, CLIENT), *away)
    ways = routes(Topology(settings.kafka_topic_generation))
    lanes = [_lane(route, settings, stack) for route in ways]
    watched = [Watched(lane.route, lane.assigned, lane.waits_for_clickhouse) for lane in lanes]
    watch = Watch(settings, settings.sink_watch_seconds, settings.sink_stall_seconds, watched)
    _extend(health, lanes, watched, watch)
    moving = asyncio.create_task(_leave(given, settings.kafka_topic_generation, stop, moved))
    refusals = Refusals(settings, "sink", metrics.REFUSALS)
    health.readiness["refused"] = refusals.complaint
    try:
        while not stop.is_set():
            try:
                await _work(settings, ways, lanes, watch, start, stop, refusals)
            except ContinuityError as error:
                await refusals.note(error, settings.kafka_topic_generation)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), AGAIN_SECONDS)
    finally:
        moving.cancel()
        await asyncio.wait({moving})


async def _leave(settings: SinkSettings, number: int, stop: asyncio.Event, moved: asyncio.Event) -> None:
    """Stop once a newer generation is in use: all of this one is stored then."""
    newer = await superseded(settings, CLIENT, number)
    log.info("generation left", generation=number, for_generation=newer)
    moved.set()
    stop.set()


async def _work(
    settings: SinkSettings,
    ways: Sequence[Route],
    lanes: Sequence[Lane],
    watch: Watch,
    start: Outage,
    stop: asyncio.Event,
    refusals: Refusals,
) -> None:
    writer = ClickHouseWriter(settings, settings.sink_insert_timeout_seconds)
    try:
        facts = await admit(settings, ways, writer, start)
    finally:
        await writer.close()
    refusals.clear(settings.kafka_topic_generation)
    tasks = [asyncio.create_task(lane.run(facts, stop)) for lane in lanes]
    watching = asyncio.create_task(watch.run(facts))
    working = asyncio.create_task(_all(tasks))
    beside = [watching, working, asyncio.create_task(_chores(settings, lanes).run())]
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        await working
    finally:
        for task in (*tasks, *beside):
            task.cancel()
        await asyncio.wait({*tasks, *beside})
        watch.rest()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def _chores(settings: SinkSettings, lanes: Sequence[Lane]) -> Chores:
    """Return what one sink of the group does beside its routes."""
    (events,) = (lane for lane in lanes if lane.route.name == EVENTS_ROUTE)
    (topic,) = events.route.topics
    chores = (*erasing(settings), *reconciling(settings))
    return Chores(chores, lambda: (topic.name, 0) in events.assigned())


async def _until(stop: asyncio.Event, health: Health, work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends, which it does by itself a while after `stop`; what hangs is cut off."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        health.stop()
        await asyncio.wait({working}, timeout=STOP_SECONDS)
    finally:
        stopping.cancel()
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working


def _lane(route: Route, settings: SinkSettings, stack: AsyncExitStack) -> Lane:
    writer = ClickHouseWriter(settings, settings.sink_insert_timeout_seconds)
    stack.push_async_callback(writer.close)
    outages = _outage("ClickHouse", route.name), _outage("Kafka", route.name)
    share = settings.sink_max_dead_letter_share
    store = Store(route, writer, KafkaDeadLetters(settings), outages, _utc_now, share)
    return Lane(route, settings, store, _wall_ms)


def _outage(server: str, route: str) -> Outage:
    return Outage(server, route, asyncio.get_running_loop().time, asyncio.sleep)


def _extend(health: Health, lanes: Sequence[Lane], watched: Sequence[Watched], watch: Watch) -> None:
    health.liveness |= {f"route {one.route.name}": partial(watch.stalled, one) for one in watched}
    health.readiness |= {f"route {lane.route.name}": lane.complaint for lane in lanes}
    health.readiness["kafka"] = watch.complaint


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the rim of the process reads the clock)


def _wall_ms() -> int:
    return int(time.time() * 1000)
