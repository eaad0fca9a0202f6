"""Asks how the stack is, for `afterword status`: parts, lag of each stage, rows, dead letters."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from schemas.topics import Topology
from services.local.core.flow import Flow
from services.local.core.report import PartReport, Report, all_fit
from services.local.core.supervision import Phase
from services.local.gauge import UNREACHABLE
from services.local.home import Home
from services.local.settings import StatusSettings
from services.local.stored import Stored, tables
from services.local.watch import log
from services.pipeline.core.generation_states import in_use
from services.pipeline.generations import generations
from services.pipeline.survey import admin, brokers_and_copies
from services.runtime.kafka.core.copies import troubles

_ASK_SECONDS = 10.0
_AGAIN_SECONDS = 0.25
_GONE = "gone"


async def report(settings: StatusSettings) -> Report:
    """Return how the stack is now."""
    flow, stored, kafka = await asyncio.gather(_flow(settings), _stored(settings), _copies(settings))
    servers = {
        f"Kafka at {settings.kafka_bootstrap_servers}": flow,
        f"ClickHouse at {settings.clickhouse_url}": stored,
    }
    home = Home(settings.afterword_home)
    supervisor, parts = recorded(home.state(), now=time.time())
    return Report(
        home=str(home.path),
        supervisor=supervisor,
        parts=parts,
        events=flow.events if flow else None,
        lag={stage.name: stage.lag for stage in flow.stages} if flow else None,
        rows=stored.rows if stored else None,
        dead_letters=stored.dead_letters if stored else None,
        refusals=stored.refusals if stored else (),
        kafka=kafka,
        unreachable=tuple(server for server, answer in servers.items() if answer is None),
    )


async def wait_until_ready(settings: StatusSettings, seconds: float) -> Report:
    """Return the report once all is ready, or as it is when so many seconds have passed."""
    home, deadline = Home(settings.afterword_home), time.monotonic() + seconds
    while time.monotonic() < deadline:
        # The supervisor's record costs nothing to read; the servers are asked once it says ready.
        _, parts = recorded(home.state(), now=time.time())
        if all_fit(parts) and (now := await report(settings)).ready:
            return now
        await asyncio.sleep(_AGAIN_SECONDS)
    return await report(settings)


def recorded(state: Mapping[str, Any], *, now: float) -> tuple[int | None, tuple[PartReport, ...]]:
    """Return the supervisor's process id, if it runs, and its parts; `now` in seconds since 1970."""
    if not state:
        return None, ()
    runs = _runs(state["pid"], state["created"])
    parts = tuple(_part(name, part, now=now) for name, part in state["parts"].items())
    return (state["pid"] if runs else None), parts


def _part(name: str, recorded: Mapping[str, Any], *, now: float) -> PartReport:
    """Return a part, as gone when its process is not there any more and nobody has noticed."""
    pid, created = recorded["pid"], recorded["created"]
    runs = pid is not None and _runs(pid, created)
    gone = not runs and (pid is not None or recorded["state"] == Phase.READY)
    return PartReport(
        name=name,
        state=_GONE if gone else recorded["state"],
        pid=pid if runs else None,
        uptime_seconds=round(now - created, 1) if runs else None,
        restarts=recorded["restarts"],
        detail=recorded["detail"],
        url=recorded["url"],
    )


def _runs(pid: int, created: float) -> bool:
    # Imported here: where no stack was recorded, as in an image, psutil need not be installed.
    from services.local.processes import Identity, is_running  # noqa: PLC0415

    return is_running(Identity(pid, created))


async def _flow(settings: StatusSettings) -> Flow | None:
    try:
        async with asyncio.timeout(_ASK_SECONDS), log(settings) as asked:
            return await asked.flow()
    except UNREACHABLE:
        return None


async def _copies(settings: StatusSettings) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(_ASK_SECONDS), admin(settings, "afterword-status") as client:
            number = in_use(await generations(client))
            found = await brokers_and_copies(client, [topic.name for topic in Topology(number).topics])
    except UNREACHABLE:
        return ()
    return tuple(text for text, _ in troubles(found))


async def _stored(settings: StatusSettings) -> Stored | None:
    try:
        async with asyncio.timeout(_ASK_SECONDS), tables(settings) as counted:
            return await counted.count()
    except UNREACHABLE:
        return None
