"""Reads the status of a stack, for `afterword status`: parts, lag of each stage, rows, dead letters."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from schemas.topics import Topology
from services.local.core.flow import Flow
from services.local.core.supervision import Phase
from services.local.core.views import PartStatus, StackStatus, all_fit
from services.local.gauge import UNREACHABLE, StoredCounts, tables
from services.local.home import Home, runs
from services.local.settings import StatusSettings
from services.local.watch import log
from services.pipeline.core.generation_states import in_use
from services.pipeline.generations import generations
from services.pipeline.survey import admin, brokers_and_copies
from services.runtime.kafka.core.topic_copies import troubles

_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 0.25
_GONE = "gone"


async def read_status(settings: StatusSettings) -> StackStatus:
    """Return the current status of the stack; figures of a server that does not answer are None."""
    flow, stored, kafka = await asyncio.gather(_flow(settings), _stored(settings), _copies(settings))
    servers = {
        f"Kafka at {settings.kafka_bootstrap_servers}": flow,
        f"ClickHouse at {settings.clickhouse_url}": stored,
    }
    home = Home(settings.afterword_home)
    supervisor, parts = recorded(home.state(), now=time.time())
    return StackStatus(
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


async def wait_until_ready(settings: StatusSettings, seconds: float) -> StackStatus:
    """Return the status once all is ready, or as it is after `seconds`."""
    home, deadline = Home(settings.afterword_home), time.monotonic() + seconds
    while time.monotonic() < deadline:
        # The supervisor's record is cheap to read: the servers are asked once it has all parts ready.
        _, parts = recorded(home.state(), now=time.time())
        if all_fit(parts) and (now := await read_status(settings)).ready:
            return now
        await asyncio.sleep(_RETRY_SECONDS)
    return await read_status(settings)


def recorded(state: Mapping[str, Any], *, now: float) -> tuple[int | None, tuple[PartStatus, ...]]:
    """Return the supervisor's process id, if it runs, and its parts; `now` in seconds since 1970."""
    if not state:
        return None, ()
    is_supervised = runs(state["pid"], state["created"])
    parts = tuple(_part(name, part, now=now) for name, part in state["parts"].items())
    return (state["pid"] if is_supervised else None), parts


def _part(name: str, recorded: Mapping[str, Any], *, now: float) -> PartStatus:
    """Return a part's status: `gone` if its process has ended without a record of it."""
    pid, created = recorded["pid"], recorded["created"]
    is_alive = pid is not None and runs(pid, created)
    gone = not is_alive and (pid is not None or recorded["state"] == Phase.READY)
    return PartStatus(
        name=name,
        state=_GONE if gone else recorded["state"],
        pid=pid if is_alive else None,
        uptime_seconds=round(now - created, 1) if is_alive else None,
        restarts=recorded["restarts"],
        detail=recorded["detail"],
        url=recorded["url"],
    )


async def _flow(settings: StatusSettings) -> Flow | None:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), log(settings) as kafka:
            return await kafka.flow()
    except UNREACHABLE:
        return None


async def _copies(settings: StatusSettings) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), admin(settings, "afterword-status") as client:
            number = in_use(await generations(client))
            copies = await brokers_and_copies(client, [topic.name for topic in Topology(number).topics])
    except UNREACHABLE:
        return ()
    return tuple(text for text, _ in troubles(copies))


async def _stored(settings: StatusSettings) -> StoredCounts | None:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), tables(settings) as counted:
            return await counted.count()
    except UNREACHABLE:
        return None
