"""`/live`: pages are notified when rows of their tenant change, of nothing else, and not for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.operations.keys import revoke_keys
from services.query.app import QueryApp
from services.runtime.http.keys import parse
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, state_row
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.query.app import code_of, query_over, reading_key


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """A database with tables and no rows."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


class Stream:
    """What a page hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.is_over = False

    async def read(self, answer: httpx.Response) -> None:
        """Note everything until the end."""
        async for text in answer.aiter_text():
            self.heard.append(text)
        self.is_over = True

    def count(self, event: str) -> int:
        """Return how often an event was told."""
        return "".join(self.heard).count(f"event: {event}\n")


@asynccontextmanager
async def listening(url: str, key: str = "") -> AsyncIterator[Stream]:
    """Listen as a page does."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx.AsyncClient(headers=headers, timeout=60) as client,
        client.stream("GET", f"{url}/live") as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream()
        reading = asyncio.create_task(stream.read(answer))
        try:
            await eventually(lambda: stream.count("ready"))
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def quick(settings: ClickHouseSettings, home: Path, **more: Any) -> QueryApp:
    """Return an application that looks often."""
    app = query_over(settings, home, query_live_seconds=0.05, **more)
    app.state.service.live.heartbeat_seconds = 0.1
    return app


async def store(settings: ClickHouseSettings, tenant: str, position: int) -> None:
    """Store a row as the sink does: the row, then how far it is."""
    await insert(settings, "feedback_state", [state_row("same-id", position, tenant=tenant)])
    place = {"route": "state", "topic": "feedback-state", "partition": 0, "position": position}
    await insert(settings, "sink_positions", [place | {"appended_at": "2026-11-22T08:00:00.000Z"}])


async def watched(app: QueryApp) -> None:
    """Wait until the watcher has had its first look: what comes later is news."""
    await eventually(lambda: app.state.service.live.is_watching)


async def test_only_the_tenants_pages_are_notified_and_without_content(
    tables: ClickHouseSettings, tmp_path: Path
) -> None:
    """The other one hears nothing but signs of life."""
    north, south = (reading_key(tmp_path, tenant=name) for name in ("north", "south"))
    app = quick(tables, tmp_path)
    async with serving(app) as url, listening(url, north) as mine, listening(url, south) as other:
        await watched(app)
        await store(tables, "north", 1)
        await eventually(lambda: mine.count("change"))
        signs = other.heard.count(":\n\n")
        await eventually(lambda: other.heard.count(":\n\n") > signs + 1)
        assert other.count("change") == 0
        await store(tables, "south", 2)
        await eventually(lambda: other.count("change"))
    told = set("".join([*mine.heard, *other.heard]).split("\n"))
    assert told <= {"", ":", "retry: 2000", "event: ready", "event: change", "data: ."}


async def test_without_listeners_nothing_is_queried(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """The watcher ends with the last page, and begins again with the next."""
    app = quick(tables, tmp_path)
    async with serving(app) as url:
        live_pages = app.state.service.live
        async with listening(url):
            await watched(app)
        await eventually(lambda: not live_pages.is_watching)
        async with listening(url) as stream:
            await watched(app)
            await store(tables, "default", 1)
            await eventually(lambda: stream.count("change"))


async def test_no_more_pages_are_live_than_may_be(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """One more is told to come again, and gets its place when another leaves."""
    async with serving(quick(tables, tmp_path, query_max_live=1)) as url, httpx.AsyncClient() as client:
        async with listening(url):
            refused = await client.get(f"{url}/live")
            assert code_of(refused) == "overloaded"

        async def has_room() -> bool:
            async with client.stream("GET", f"{url}/live") as answer:
                return answer.status_code == 200

        assert await eventually(has_room)


async def test_head_has_the_headers_of_the_stream_and_takes_no_place(
    tables: ClickHouseSettings, tmp_path: Path
) -> None:
    """It is answered at once and whole, so the connection continues; nobody listens afterwards."""
    app = quick(tables, tmp_path, query_max_live=1)
    one = httpx.Limits(max_connections=1)
    async with serving(app) as url, httpx.AsyncClient(limits=one, timeout=60) as client:
        for path in ("/live", "/live/", "/live"):
            answer = await client.head(f"{url}{path}")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert "transfer-encoding" not in answer.headers
        live_pages = app.state.service.live
        await eventually(lambda: not live_pages.is_watching)
        assert live_pages.check_room("default") is None
        assert (await client.get(f"{url}/livez")).json()["status"] == "ok"


async def test_a_revoked_key_ends_the_stream(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """At the next sign of life, and the page is told why."""
    key = reading_key(tmp_path)
    async with serving(quick(tables, tmp_path)) as url, listening(url, key) as stream:
        keys = tmp_path / "keys.toml"
        revoke_keys(keys, [record.id for record in parse(keys.read_text())])
        await eventually(lambda: stream.is_over)
        assert stream.count("signed-out") == 1


async def test_a_service_that_stops_ends_all_streams(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """And takes no new ones."""
    app = quick(tables, tmp_path)
    async with serving(app) as url, listening(url) as stream, httpx.AsyncClient() as client:
        app.stopping()
        await eventually(lambda: stream.is_over)
        assert code_of(await client.get(f"{url}/live")) == "overloaded"
