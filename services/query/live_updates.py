"""Tells open pages that rows of their tenant have changed, and nothing about them.

One watcher a process asks ClickHouse, once in `QUERY_LIVE_SECONDS` and only while somebody listens.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog

from services.query.core.places import Full, Places
from services.query.core.problems import Code, Problem
from services.query.core.ticks import LOOK, Known, Look, changed
from services.query.settings import QuerySettings
from services.query.store import Store

log = structlog.get_logger()


HEARTBEAT_SECONDS = 5.0
"""Between two signs of life; each is also a look whether the key is still valid."""


class Listener:
    """One open page."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.is_over = False
        """The process stops, or its watcher failed: whoever listens should come again."""
        self._news = asyncio.Event()

    async def changed(self, within_seconds: float) -> bool:
        """Wait for a change, but no longer than this; tell whether there was one since the last call."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def tell(self) -> None:
        """Wake it: something of its tenant has changed."""
        self._news.set()

    def end(self) -> None:
        """Wake it for the last time."""
        self.is_over = True
        self._news.set()


class Live:
    """All open pages of this process, and the watcher."""

    def __init__(self, store: Store, settings: QuerySettings) -> None:
        self._store = store
        self.heartbeat_seconds = HEARTBEAT_SECONDS
        self._seconds = settings.query_live_seconds
        self._places = Places(settings.query_max_live)
        self._listeners: set[Listener] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_watching = False
        self._is_closed = False

    @property
    def is_watching(self) -> bool:
        """The watcher runs, and has had its first look: what is stored from now on is told."""
        return self._watching is not None and self._is_watching

    def check_room(self, tenant: str) -> None:
        """Raise Problem when as many listen as may, of all tenants or of this one."""
        full = self._places.full(tenant)
        if self._is_closed or full is Full.ALL:
            raise Problem(Code.OVERLOADED, "as many pages are live as may be; reload this one to see news")
        if full is Full.OWN:
            raise Problem(Code.RATE_LIMITED, "this tenant has as many live pages as one may; reload this one")

    @contextmanager
    def listening(self, tenant: str) -> Iterator[Listener]:
        """Listen for changes of a tenant's rows in a `with` block."""
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
        """End all listening for good."""
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
            log.error("live pages are not kept up to date any more", error=repr(error))
        # They come again, and that starts another watcher.  None listens when nobody was left.
        self._end_all()

    async def _watch(self) -> None:
        known: Known | None = None
        while True:
            try:
                known = await self._look(known)
                self._is_watching = True
            except Problem as problem:
                log.debug("live pages could not be kept up to date", problem=problem.detail)
            await asyncio.sleep(self._seconds)

    async def _look(self, known: Known | None) -> Known:
        row = (await self._store.rows(LOOK))[0]
        look = Look(datetime.fromisoformat(row["at"]), row["positions"])
        if known is None:
            return Known.first(look)
        if known.is_enough(look):
            return known
        tenants = {listener.tenant for listener in self._listeners}
        rows = await self._store.rows(changed(tenants, known.since()))
        self._tell({row["tenant"] for row in rows})
        return Known(look.positions, look.at)

    def _tell(self, tenants: set[str]) -> None:
        for listener in self._listeners:
            if listener.tenant in tenants:
                listener.tell()
