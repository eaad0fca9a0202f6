"""Live updates of open pages: the stream `/live`, which notifies a page when rows of its tenant changed.

The sink writes its positions after every batch: while they do not move, nothing has changed, and one look
at a tiny table shows that.  When they have moved, `stored_at` of the rows shows whose rows changed.  What
is stored without the sink (a dead letter, by hand) is found by a look at the rows now and then.  One
watcher in a process asks ClickHouse, once in `QUERY_LIVE_SECONDS` and only while a page listens.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from services.query.access import Reader
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.reads.core.sql import moment
from services.query.settings import QuerySettings
from services.query.store import QueryStore
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.fairness import NoSlot, TenantSlots

if TYPE_CHECKING:
    from services.query.service import QueryService

OVERLAP = timedelta(seconds=10)
"""How long an insert may take: `stored_at` is its beginning, and rows are visible at its end."""

ANYWAY = timedelta(seconds=15)
"""How long positions may be unchanged before rows are checked anyway."""

LOOK = Statement(
    "SELECT now64(6) AS at, toString(groupArray((topic, partition, position))) AS positions "
    "FROM (SELECT topic, partition, max(position) AS position "
    f"FROM {SINK_POSITIONS} GROUP BY topic, partition ORDER BY topic, partition)"
)
"""The positions of the sink, and the time at ClickHouse, whose clock sets `stored_at`."""

_SHOWN = (FEEDBACK_STATE, FEEDBACK_EVENTS, DEAD_LETTERS)


@dataclass(frozen=True)
class PositionsLook:
    """The positions of the sink at a moment."""

    at: datetime
    positions: str


@dataclass(frozen=True)
class WatchState:
    """The positions seen last, and up to when rows were checked."""

    positions: str
    asked_at: datetime

    @classmethod
    def first(cls, look: PositionsLook) -> "WatchState":
        """Return the state after the first look: pages opened from now on show everything up to it."""
        return cls(look.positions, look.at)

    def is_enough(self, look: PositionsLook) -> bool:
        """Return whether the rows need not be checked after this look."""
        return look.positions == self.positions and look.at - self.asked_at < ANYWAY

    def since(self) -> datetime:
        """Return the time from which on rows may be unseen."""
        return self.asked_at - OVERLAP


def changed_tenants(tenants: Collection[str], since: datetime) -> Statement:
    """Return the statement that selects the tenants with rows stored since a time."""
    sql = " UNION DISTINCT ".join(
        f"SELECT DISTINCT tenant FROM {table} "
        "WHERE tenant IN {tenants:Array(String)} AND stored_at > {since:DateTime64(6, 'UTC')}"
        for table in _SHOWN
    )
    return Statement(sql, {"tenants": sorted(tenants), "since": moment(since)})


log = structlog.get_logger()


HEARTBEAT_SECONDS = 5.0
"""Between two heartbeats; each also checks that the key is still valid."""


class Listener:
    """One open page."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.is_over = False
        """The process stops, or its watcher failed: the page should reconnect."""
        self._news = asyncio.Event()

    async def changed(self, within_seconds: float) -> bool:
        """Wait for a change, at most this long; return whether there was one since the last call."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def wake(self) -> None:
        """Wake the listener: rows of its tenant changed."""
        self._news.set()

    def end(self) -> None:
        """End the listener."""
        self.is_over = True
        self._news.set()


class LiveUpdates:
    """The open pages of this process, and the task that watches for changes."""

    def __init__(self, store: QueryStore, settings: QuerySettings) -> None:
        self._store = store
        self.heartbeat_seconds = HEARTBEAT_SECONDS
        self._seconds = settings.query_live_seconds
        self._places = TenantSlots(settings.query_max_live)
        self._listeners: set[Listener] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_watching = False
        self._is_closed = False

    @property
    def is_watching(self) -> bool:
        """Whether the watcher has had its first look: rows stored from now on are reported."""
        return self._watching is not None and self._is_watching

    def check_room(self, tenant: str) -> None:
        """Raise QueryProblem if the limit of live pages is reached, in total or of this tenant."""
        full = self._places.full(tenant)
        if self._is_closed or full is NoSlot.ALL:
            raise QueryProblem(
                ProblemCode.OVERLOADED, "the limit of live pages is reached; reload this page to see changes"
            )
        if full is NoSlot.OWN:
            raise QueryProblem(
                ProblemCode.RATE_LIMITED, "this tenant has reached its limit of live pages; reload this page"
            )

    @contextmanager
    def listening(self, tenant: str) -> Iterator[Listener]:
        """Yield a listener for changes of a tenant's rows."""
        listener = Listener(tenant)
        self._listeners.add(listener)
        self._places.take(tenant)
        if self._is_closed:
            listener.end()
        elif self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="live")
            self._watching.add_done_callback(self._ended)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._places.leave(tenant)
            if not self._listeners and self._watching is not None:
                self._watching.cancel()

    def close(self) -> None:
        """End all listeners, for shutdown."""
        self._is_closed = True
        if self._watching is not None:
            self._watching.cancel()
        self._end_all()

    def _end_all(self) -> None:
        for listener in self._listeners:
            listener.end()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._watching, self._is_watching = None, False
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("live updates stopped", error=repr(error))
        # Pages reconnect, and that starts another watcher.
        self._end_all()

    async def _watch(self) -> None:
        known: WatchState | None = None
        while True:
            try:
                known = await self._look(known)
                self._is_watching = True
            except QueryProblem as problem:
                log.debug("live updates delayed", problem=problem.detail)
            await asyncio.sleep(self._seconds)

    async def _look(self, known: WatchState | None) -> WatchState:
        row = (await self._store.rows(LOOK))[0]
        look = PositionsLook(datetime.fromisoformat(row["at"]), row["positions"])
        if known is None:
            return WatchState.first(look)
        if known.is_enough(look):
            return known
        tenants = {listener.tenant for listener in self._listeners}
        rows = await self._store.rows(changed_tenants(tenants, known.since()))
        self._notify({row["tenant"] for row in rows})
        return WatchState(look.positions, look.at)

    def _notify(self, tenants: set[str]) -> None:
        for listener in self._listeners:
            if listener.tenant in tenants:
                listener.wake()


router = APIRouter(include_in_schema=False)

READY = b"retry: 2000\nevent: ready\ndata: .\n\n"
CHANGE = b"event: change\ndata: .\n\n"
SIGNED_OUT = b"event: signed-out\ndata: .\n\n"
ALIVE = b":\n\n"

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}


@router.get("/live")
async def live(request: Request, reader: Reader) -> Response:
    """Stream events for as long as the caller may read."""
    service: QueryService = request.app.state.service
    service.live.check_room(reader.tenant)
    return StreamingResponse(
        _events(service, request, reader.tenant), headers=HEADERS, media_type="text/event-stream"
    )


async def _events(service: "QueryService", request: Request, tenant: str) -> AsyncIterator[bytes]:
    with service.live.listening(tenant) as listener:
        yield READY
        while True:
            has_changed = await listener.changed(service.live.heartbeat_seconds)
            if listener.is_over:
                return
            if not service.access.may_still_read(request, tenant):
                yield SIGNED_OUT
                return
            yield CHANGE if has_changed else ALIVE
