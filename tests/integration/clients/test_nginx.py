"""Behind nginx as docs/operations.md sets it up: path prefixes, kept connections, the client's address."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from playwright.async_api import Browser, expect

from services.runtime.http.core.sign_in_limit import TRIES
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings
from tests.integration.clients.conftest import MANY, Door
from tests.support.clickhouse.tables import create_tables, insert, state_row
from tests.support.http.browser import window
from tests.support.http.nginx import documented, proxied
from tests.support.http.server import serving
from tests.support.ingest.app import ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog
from tests.support.operations.command import afterword
from tests.support.query.app import query_over

API, UI = "/feedback-api", "/feedback-ui"
STRIPPING = re.sub(
    r"(location /[a-z-]+)/? \{ proxy_pass (http://[a-z]+); \}", r"\1/ { proxy_pass \2/; }", documented()
)
"""The same, but for a proxy that strips the prefix."""


@dataclass(frozen=True)
class Site(Door):
    """Both services behind nginx.  `url` is that of ingest, `ui` that of query."""

    ui: str
    home: Path


@asynccontextmanager
async def site(home: Path, part: str, clickhouse: ClickHouseSettings | None = None) -> AsyncIterator[Site]:
    """Serve both, over a log in memory and a ClickHouse, if one is needed."""
    log, key = FakeLog(), new_key(home, Scope.READ, Scope.WRITE)
    store = clickhouse or ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")
    ingest = ingest_over(log, home, ingest_root_path=API)
    settings = {"query_root_path": UI, "query_live_seconds": 0.1, "query_trusted_proxies": "127.0.0.1"}
    query = query_over(store, home, kafka_bootstrap_servers="127.0.0.1:1", **settings)
    nginx = home / "nginx"
    nginx.mkdir()
    async with (
        serving(ingest) as ingest_url,
        serving(query) as query_url,
        proxied(nginx, ingest_url, query_url, part) as url,
    ):
        yield Site(f"{url}{API}", key, log, f"{url}{UI}", home)


@pytest.mark.parametrize("part", [documented(), STRIPPING], ids=["keeps the prefix", "strips the prefix"])
async def test_nginx_in_front(tmp_path: Path, part: str) -> None:
    """Every request is written once, on connections that are kept; both forms of a path, HEAD, links."""
    async with site(tmp_path, part) as one, httpx.AsyncClient(timeout=60) as client:
        client.headers["x-api-key"] = one.key
        name = "stripped-" if part == STRIPPING else "nginx%2F"
        sends = [
            client.post(
                f"{one.url}/feedback/{name}{number}/",
                json={"data": {"rating": number, "padding": "x" * number * 4096}},
            )
            for number in range(MANY)
        ]
        answers = await asyncio.gather(*sends)
        assert {answer.status_code for answer in answers} == {202}
        beacon = await client.post(f"{one.url}/k/{one.key}/v1/events/", content=b"{}")
        assert beacon.status_code == 422
        head, docs = await client.head(f"{one.ui}/sign-in"), await client.get(f"{one.url}/docs")
        assert (head.status_code, head.content) == (200, b"")
        assert f'"{API}/docs/assets/swagger-ui.css"' in docs.text
        for page in (docs, await client.get(f"{one.ui}/docs/")):
            for link in re.findall(r'(?:href|src)="(/[^"]+)"', page.text):
                assert (await client.get(httpx.URL(one.ui).join(link))).status_code == 200
        client.headers.pop("x-api-key")
        led = await client.get(f"{one.ui}/insights?by=tag")
        assert led.headers["location"] == f"{UI}/sign-in?next=%2Finsights%3Fby%3Dtag"

    assert one.ratings() == {f"{unquote(name)}{number}": number for number in range(MANY)}


async def test_strangers_behind_nginx_are_distinguished(tmp_path: Path) -> None:
    """By the address that nginx saw, whatever they write themselves; the right key is let in."""
    async with site(tmp_path, documented()) as one:

        async def tries(address: str, key: str, times: int) -> list[int]:
            transport = httpx.AsyncHTTPTransport(local_address=address)
            async with httpx.AsyncClient(transport=transport, timeout=60) as client:
                statuses = []
                for number in range(times):
                    made_up = {"x-forwarded-for": f"192.0.2.{number}"}
                    answer = await client.post(f"{one.ui}/sign-in", data={"key": key}, headers=made_up)
                    statuses.append(answer.status_code)
            return statuses

        assert await tries("127.0.0.2", "wrong", TRIES + 1) == [401] * TRIES + [429]
        assert await tries("127.0.0.3", "wrong", 1) == [401]
        assert await tries("127.0.0.2", one.key, 1) == [303]


async def test_commands_reach_an_address_with_a_path(
    tmp_path: Path, clickhouse_settings: ClickHouseSettings
) -> None:
    """`send`, `demo` and `export`, through the proxy."""
    await create_tables(clickhouse_settings)
    await insert(clickhouse_settings, "feedback_state", [state_row("there/1", 1)])
    (tmp_path / "sent.ndjson").write_text('{"request_id":"sent/0","data":{"rating":0}}\n')
    async with site(tmp_path, documented(), clickhouse_settings) as one:
        environ = {"AFTERWORD_KEY": one.key, "AFTERWORD_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
        commands = [
            ("send", tmp_path / "sent.ndjson", "--url", one.url),
            ("demo", "--count", "3", "--url", one.url),
            ("export", tmp_path / "rows.ndjson", "--url", one.ui),
        ]
        for command in commands:
            ended = await asyncio.to_thread(afterword, *command, environ=environ)
            assert ended.code == 0, ended.err

    assert "there/1" in (tmp_path / "rows.ndjson").read_text()
    assert len(one.log.events) >= 4


async def test_the_dashboard_behind_nginx(
    browser: Browser, tmp_path: Path, clickhouse_settings: ClickHouseSettings
) -> None:
    """Signs in, follows links, hears of news, and signs out, below its prefix."""
    await create_tables(clickhouse_settings)
    await insert(clickhouse_settings, "feedback_state", [state_row("a/b", 1)])
    async with site(tmp_path, documented(), clickhouse_settings) as one:
        origin = one.ui.removesuffix(UI)
        async with window(browser, origin) as page:
            await page.goto(f"{UI}/?order=-rating")
            await page.get_by_label("Key").fill(one.key)
            await page.get_by_role("button", name="Sign in").click()
            await page.wait_for_url(f"**{UI}/?order=-rating")
            await page.get_by_role("link", name="a/b").first.click()
            await page.wait_for_url(f"**{UI}/requests/a%2Fb")
            await page.get_by_role("link", name="Afterword: all requests").click()
            await page.wait_for_url(f"**{UI}/")
            await expect(page.locator("#live-switch")).to_have_attribute("data-state", "live")
            await insert(clickhouse_settings, "feedback_state", [state_row("news/1", 2)])
            place = {"route": "state", "topic": "feedback-state", "partition": 0, "position": 3}
            await insert(
                clickhouse_settings, "sink_positions", [place | {"appended_at": "2026-11-22T08:00:00.000Z"}]
            )
            await expect(page.get_by_role("link", name="news/1").first).to_be_visible()
            cookies = {cookie["name"]: cookie.get("path") for cookie in await page.context.cookies()}
            assert cookies["afterword_session"] == UI
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url(f"**{UI}/sign-in")
