"""The life of a merger process: wait for Kafka, check whether it may start, merge until stopped."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from services.merger import metrics
from services.merger.app import Merger, die
from services.merger.context import Setup
from services.merger.directory import Directory
from services.merger.settings import MergerSettings
from services.merger.startup_check import wait_until_ready
from services.merger.watchdog import MergerWatchdog
from services.pipeline.core.continuity import ContinuityError
from services.pipeline.generations import superseded
from services.pipeline.refusals import AGAIN_SECONDS, Refusals
from services.runtime.http.health import Health, probe_app, serve
from services.runtime.process import collect_seldom

log = structlog.get_logger()

STOP_SECONDS = 8.0
"""Less than supervisors wait before they kill; correctness does not depend on an orderly stop."""

_ALLOCATIONS = 200_000
"""Net allocations between two collections of the youngest generation: a batch makes many thousands."""

T = TypeVar("T")


async def run(settings: MergerSettings) -> bool:
    """Merge until SIGTERM or SIGINT, or until a newer topic generation is in use; returns whether one is.

    After the start, errors end the process.  DirectoryUnusable; OSError for a port in use; ContinuityError
    when the merger must not start.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    health = Health()
    probes = serve(probe_app(health), settings.merger_metrics_host, settings.merger_metrics_port)
    instance, generation = settings.merger_instance, settings.kafka_topic_generation
    with closing(Directory(settings.afterword_home, instance, generation)) as directory:
        async with probes as port:
            log.info("merger started", port=port, directory=str(directory.path))
            setup = await _unless(stop, _prepared(settings, directory, health))
            moved = False if setup is None else await _merge(setup, health, stop, settings)
    log.info("merger stopped")
    return moved


async def _prepared(settings: MergerSettings, directory: Directory, health: Health) -> Setup:
    trouble = "starting"
    health.readiness["start"] = lambda: trouble

    def waiting(reason: str) -> None:
        nonlocal trouble
        if trouble == "starting":
            log.warning("waiting for Kafka", reason=reason)
        trouble = reason

    refusals = Refusals(settings, "merger", metrics.REFUSALS)
    health.readiness["refused"] = refusals.complaint
    while True:
        try:
            setup = await wait_until_ready(settings, directory, waiting)
            break
        except ContinuityError as error:
            directory.note_refused(error.problems)
            await refusals.note(error, directory.generation)
            await asyncio.sleep(AGAIN_SECONDS)
    directory.note_refused(())
    refusals.clear(setup.topology.generation)
    del health.readiness["start"]
    return setup


async def _merge(setup: Setup, health: Health, stop: asyncio.Event, configured: MergerSettings) -> bool:
    """Merge until stopped; returns whether a newer generation is in use, and all of this one merged."""
    settings = setup.settings
    watch = MergerWatchdog(
        settings,
        setup.topology,
        partitions=setup.source(0).partitions,
        stall_seconds=settings.merger_stall_seconds,
        facts=setup.facts,
    )
    merger = Merger(replace(setup, progressed=watch.progressed))
    health.liveness["progress"] = watch.liveness
    health.readiness |= {"kafka": watch.readiness, "group": merger.readiness}
    collect_seldom(_ALLOCATIONS, 10, 10)
    # Start in a task: it waits for the group, without a limit.
    watching = asyncio.create_task(watch.run(merger.assigned), name="watch")
    consuming = asyncio.create_task(_consume(merger), name="consume")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    number = setup.topology.generation
    moving = asyncio.create_task(superseded(configured, "afterword-merger", number), name="move")
    await asyncio.wait({watching, consuming, stopping, moving}, return_when="FIRST_COMPLETED")
    moved = moving.done() and not stopping.done()
    if moved:
        log.info("generation left", generation=number, for_generation=moving.result())
    elif not stopping.done():
        ended = watching if watching.done() else consuming
        die(
            ended.get_name(),
            ended.exception() or merger.app.crash_reason or RuntimeError("Faust stopped without an error"),
        )
    health.stop()
    await _stop(merger, watching, consuming, stopping, moving)
    return moved


async def _consume(merger: Merger) -> None:
    await merger.app.start()
    await merger.app.wait_until_stopped()


async def _stop(merger: Merger, *tasks: asyncio.Task[Any]) -> None:
    """Stop in order within STOP_SECONDS, else end the process: Faust waits without limit for an agent."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await merger.app.stop()
    except TimeoutError:
        log.warning("merger did not stop in time, ending the process", seconds=STOP_SECONDS)
        os._exit(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of the work, None if `stop` is set before it is done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when="FIRST_COMPLETED")
    if not working.done():
        working.cancel()
        return None
    stopping.cancel()
    return working.result()
