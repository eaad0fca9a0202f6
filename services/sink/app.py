"""The life of a sink process: serve probes, check whether it may start, run every route, stop them all.

Errors are retried, except positions that do not fit the log.  Where an operator or a new generation of the
topics can resolve that, the process is not ready and waits for it; otherwise it ends.
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
from services.sink.core.routes import SinkRoute, routes
from services.sink.leader_tasks import LeaderTasks, erasure_tasks, reconciliation_tasks
from services.sink.route_runner import RouteRunner
from services.sink.settings import SinkSettings
from services.sink.startup_check import CLIENT, admit
from services.sink.store import KafkaDeadLetterWriter, Outage, SinkStore
from services.sink.watchdog import SinkWatchdog, WatchedRoute

log = structlog.get_logger()

STOP_SECONDS = 8.0
"""The most that a stop takes, whatever hangs: supervisors kill after 10."""


async def run(settings: SinkSettings, stop: asyncio.Event) -> bool:
    """Run until `stop` is set or a newer generation of the topics is in use; returns whether one is.

    ContinuityError when the sink must not continue, OSError when its port is in use.
    """
    start = _outage("Kafka or ClickHouse", "all")
    health = Health(readiness={"start": start.complaint})
    moved = asyncio.Event()
    async with AsyncExitStack() as stack:
        address = (settings.sink_metrics_host, settings.sink_metrics_port)
        port = await stack.enter_async_context(serve(probe_app(health), *address))
        log.info("sink started", health=f"http://{settings.sink_metrics_host}:{port}/readyz")
        await _until(stop, health, _resolve_and_run(settings, health, start, stop, moved, stack))
        log.info("sink stopped")
    return moved.is_set()


async def _resolve_and_run(
    configured: SinkSettings,
    health: Health,
    start: Outage,
    stop: asyncio.Event,
    moved: asyncio.Event,
    stack: AsyncExitStack,
) -> None:
    """Resolve the topic generation, then run every route until `stop` is set.

    While the log is refused because it lost records, the sink is not ready, and checks it again periodically.
    """
    unreachable = (KafkaError, OSError, TimeoutError)
    settings = await start.outlast(lambda: resolved(configured, CLIENT), *unreachable)
    all_routes = routes(Topology(settings.kafka_topic_generation))
    runners = [_runner(route, settings, stack) for route in all_routes]
    watched = [WatchedRoute(runner.route, runner.assigned, runner.waits_for_clickhouse) for runner in runners]
    watch = SinkWatchdog(settings, settings.sink_watch_seconds, settings.sink_stall_seconds, watched)
    _extend(health, runners, watched, watch)
    moving = asyncio.create_task(_stop_for_newer(configured, settings.kafka_topic_generation, stop, moved))
    refusals = Refusals(settings, "sink", metrics.REFUSALS)
    health.readiness["refused"] = refusals.complaint
    try:
        while not stop.is_set():
            try:
                await _run_routes(settings, all_routes, runners, watch, start, stop, refusals)
            except ContinuityError as error:
                await refusals.note(error, settings.kafka_topic_generation)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), AGAIN_SECONDS)
    finally:
        moving.cancel()
        await asyncio.wait({moving})


async def _stop_for_newer(
    settings: SinkSettings, number: int, stop: asyncio.Event, moved: asyncio.Event
) -> None:
    """Set `stop` once a newer generation is in use: by then, all of this one is stored."""
    newer = await superseded(settings, CLIENT, number)
    log.info("generation left", generation=number, for_generation=newer)
    moved.set()
    stop.set()


async def _run_routes(
    settings: SinkSettings,
    all_routes: Sequence[SinkRoute],
    runners: Sequence[RouteRunner],
    watch: SinkWatchdog,
    start: Outage,
    stop: asyncio.Event,
    refusals: Refusals,
) -> None:
    writer = ClickHouseWriter(settings, settings.sink_insert_timeout_seconds)
    try:
        facts = await admit(settings, all_routes, writer, start)
    finally:
        await writer.close()
    refusals.clear(settings.kafka_topic_generation)
    tasks = [asyncio.create_task(runner.run(facts, stop)) for runner in runners]
    watching = asyncio.create_task(watch.run(facts))
    working = asyncio.create_task(_all(tasks))
    beside = [watching, working, asyncio.create_task(_leader_tasks(settings, runners).run())]
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


def _leader_tasks(settings: SinkSettings, runners: Sequence[RouteRunner]) -> LeaderTasks:
    """Return the background work that one sink of the group does."""
    (events,) = (runner for runner in runners if runner.route.name == EVENTS_ROUTE)
    (topic,) = events.route.topics
    tasks = (*erasure_tasks(settings), *reconciliation_tasks(settings))
    return LeaderTasks(tasks, lambda: (topic.name, 0) in events.assigned())


async def _until(stop: asyncio.Event, health: Health, work: Coroutine[Any, Any, None]) -> None:
    """Run the work until it ends, which it does soon after `stop`; cancel it after STOP_SECONDS."""
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


def _runner(route: SinkRoute, settings: SinkSettings, stack: AsyncExitStack) -> RouteRunner:
    writer = ClickHouseWriter(settings, settings.sink_insert_timeout_seconds)
    stack.push_async_callback(writer.close)
    outages = _outage("ClickHouse", route.name), _outage("Kafka", route.name)
    share = settings.sink_max_dead_letter_share
    store = SinkStore(route, writer, KafkaDeadLetterWriter(settings), outages, _utc_now, share)
    return RouteRunner(route, settings, store, _wall_ms)


def _outage(server: str, route: str) -> Outage:
    return Outage(server, route, asyncio.get_running_loop().time, asyncio.sleep)


def _extend(
    health: Health, runners: Sequence[RouteRunner], watched: Sequence[WatchedRoute], watch: SinkWatchdog
) -> None:
    health.liveness |= {f"route {one.route.name}": partial(watch.stalled, one) for one in watched}
    health.readiness |= {f"route {runner.route.name}": runner.complaint for runner in runners}
    health.readiness["kafka"] = watch.complaint


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the edge of the process reads the clock)


def _wall_ms() -> int:
    return int(time.time() * 1000)
