"""`/v1/stats`, `/insights` and `/comments` over a real engine."""

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, run, state_row
from tests.support.query.app import client_of, faults_of, query_over, reading_key

HOSTILE = "\"><script>alert(1)</script>'{{7*7}}"
TODAY = datetime.fromtimestamp(int(time.time()), UTC)


def ago(**how: float) -> str:
    """Return a time that long ago."""
    return (TODAY - timedelta(**how)).isoformat().replace("+00:00", "Z")


def said(request_id: str, when: str, data: dict[str, Any], **request: Any) -> dict[str, Any]:
    """Return a row of one request."""
    return state_row(request_id, first_received_at=when, last_received_at=when, data=data, request=request)


CLEAR = {"rating": 5, "tags": ["clear", "new", "clear"], "preference": 2}
STRANGE = {"rating": 3, "tags": [HOSTILE], "preference": "7"}
ROWS = [
    said("a1", ago(hours=2), CLEAR, model="gpt-x", dataset="koala"),
    said("a2", ago(days=1), {"rating": "negative", "comment": "A <b>Refund</b>, please"}, model="gpt-x"),
    said("a3", ago(days=2), STRANGE, model=HOSTILE, dataset=HOSTILE),
    said("a4", ago(days=3), {"rating": "amazing", "preference": 1.5, "comment": HOSTILE}, model="gpt-y"),
    said("a5", ago(days=3), {}, model="gpt-y", started_at="2026-01-01T00:00:00Z"),
    said("a6", ago(days=4), {"rating": "bad"}),
    said("b1", ago(days=40), {"rating": 1, "tags": ["clear", "old"], "preference": 1}, model="gpt-x"),
    said("b2", ago(days=41), {"rating": 5}, model="gpt-z"),
    said("c1", ago(days=400), {"rating": 5}, model="gpt-old"),
]  # fmt: skip


@pytest.fixture(scope="module")
async def tables(warehouse: ClickHouseSettings) -> AsyncIterator[ClickHouseSettings]:
    """Make the tables in a database of this module's own, and put rows of two tenants in."""
    settings = warehouse.replace(clickhouse_database="test_statistics_pages")
    start = warehouse.replace(clickhouse_database="default")
    await run(start, f"DROP DATABASE IF EXISTS {settings.clickhouse_database}")
    await run(start, f"CREATE DATABASE {settings.clickhouse_database}")
    await create_tables(settings)
    await insert(settings, "feedback_state", [*ROWS, {**ROWS[3], "tenant": "empty", "is_deleted": 1}])
    await insert(
        settings,
        "feedback_state",
        [{**row, "tenant": "other", "request": {"model": "theirs"}, "data": {"rating": 1}} for row in ROWS],
    )
    yield settings
    await run(start, f"DROP DATABASE {settings.clickhouse_database}")


@pytest.fixture
async def client(tables: ClickHouseSettings, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Ask as the default tenant."""
    async with client_of(query_over(tables, tmp_path)) as client:
        yield client


async def stats(client: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    """Ask for statistics."""
    answer = await client.get("/v1/stats", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_last_30_days_are_shown_beside_the_30_before(client: httpx.AsyncClient) -> None:
    """Unless a time is named; the answer says which periods they are."""
    found = await stats(client)

    assert found["total"]["requests"] == 6
    assert found["total"]["with_feedback"] == 5
    assert (found["total"]["rated"], found["total"]["positive"]) == (4, 2)
    assert found["total"]["share"]["n"] == 4
    assert found["total"]["previous"]["requests"] == 2
    assert found["groups"] == found["rest"] == []
    length = [
        datetime.fromisoformat(found[name]["to"]) - datetime.fromisoformat(found[name]["from"])
        for name in ("period", "previous_period")
    ]
    assert length[0] == length[1]
    assert timedelta(days=29) <= length[0] <= timedelta(days=30)


async def test_groups_come_with_their_own_previous_figures(client: httpx.AsyncClient) -> None:
    """Those that only the previous period has come last; requests without a model are null's."""
    found = await stats(client, by="model")

    assert [group["key"]["model"] for group in found["groups"]] == ["gpt-x", "gpt-y", None, HOSTILE, "gpt-z"]
    assert [group["previous"]["requests"] for group in found["groups"]] == [1, 0, 0, 0, 1]
    assert found["groups"][0]["average"]["value"] == 3.5


async def test_what_the_limit_leaves_out_is_added_up(client: httpx.AsyncClient) -> None:
    """So that nothing is missing in the sum."""
    found = await stats(client, by="model", limit=2)

    assert len(found["groups"]) == 2
    assert found["groups_left_out"] == 3
    (rest,) = found["rest"]
    assert rest["key"] == {}
    assert (rest["requests"], rest["previous"]["requests"]) == (2, 1)


async def test_a_request_counts_once_in_each_of_its_tags_and_once_in_all(client: httpx.AsyncClient) -> None:
    """Also where somebody named a tag twice."""
    found = await stats(client, by="tag", order="key")

    counts = {
        group["key"]["tag"]: (group["requests"], group["previous"]["requests"]) for group in found["groups"]
    }
    assert counts == {None: (4, 1), HOSTILE: (1, 0), "clear": (1, 1), "new": (1, 0), "old": (0, 1)}
    assert (found["total"]["requests"], found["total"]["previous"]["requests"]) == (6, 2)


async def test_values_that_are_no_numbers_are_counted(client: httpx.AsyncClient) -> None:
    """Apart from the average."""
    found = await stats(client, measure="data.preference")

    assert found["total"]["average"]["value"] == 1.75
    assert (found["total"]["average"]["n"], found["total"]["not_numbers"]) == (2, 1)


async def test_requests_without_the_time_that_counts_are_counted_apart(client: httpx.AsyncClient) -> None:
    """By their own start, most requests here have no time."""
    found = await stats(client, by="day", time="started_at", **{"from": "2026-01-01", "to": "2026-01-02"})

    assert [group["key"]["day"] for group in found["groups"]] == ["2026-01-01"]
    assert (found["total"]["requests"], found["undated"]) == (1, len(ROWS) - 1)


async def test_names_without_a_time_take_nobodys_place(client: httpx.AsyncClient) -> None:
    """Not even that of one which only the previous period has."""
    found = await stats(
        client, by="model", time="started_at", limit=1, **{"from": "2026-01-02", "to": "2026-01-03"}
    )

    assert [group["key"]["model"] for group in found["groups"]] == ["gpt-y"]
    assert (found["rest"], found["groups_left_out"], found["undated"]) == ([], 0, len(ROWS) - 1)


async def test_everything_is_asked_for_from_1970_on(client: httpx.AsyncClient) -> None:
    """Nothing was before."""
    found = await stats(client, by="month", **{"from": "1970-01-01"})

    assert found["total"]["requests"] == len(ROWS)
    assert found["previous_period"] is None
    assert found["total"]["previous"] is None


async def test_every_fault_is_reported_at_once(client: httpx.AsyncClient) -> None:
    """With what would be right."""
    answer = await client.get(
        "/v1/stats",
        params={"by": "modelx", "measure": "x", "order": "size", "limit": "0", "time_zone": "Mars"},
    )

    assert set(faults_of(answer)) == {"by", "measure", "order", "limit", "time_zone"}
    assert set(faults_of(await client.get("/v1/stats?from=2026-02-01&to=2026-01-01"))) == {"from"}
    assert "did you mean measure" in faults_of(await client.get("/v1/stats?measurex=rating"))["measurex"]


class Page(HTMLParser):
    """A page's elements: their attributes by name of the element, and the text that people read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Take note."""
        self.texts.append(data)


async def page(client: httpx.AsyncClient, address: str) -> Page:
    """Return a page, after checking that nothing that people sent has become markup of it."""
    answer = await client.get(address)
    assert answer.status_code == 200, answer.text
    assert "alert(1)</script>" not in answer.text.replace("&lt;/script&gt;", "")
    found = Page(answer.text)
    assert [attributes.get("src") for tag, attributes in found.found if tag == "script"] == [
        next(a["src"] for tag, a in found.found if tag == "script")
    ]
    assert not [a for _, a in found.found if "style" in a or any(name.startswith("on") for name in a)]
    return found


def names(text: str) -> list[str]:
    """Return the names of a comparison's lines, in order."""
    return [unescape(name) for name in re.findall(r'<tr data-key="([^"]*)"', text)]


async def test_the_comparison_goes_from_the_best_to_the_worst(client: httpx.AsyncClient) -> None:
    """With each one's sample beside it; whoever has no value is not compared."""
    text = (await client.get("/insights?measure=rating")).text

    assert names(text)[:3] == ["gpt-y", "gpt-x", HOSTILE]


@pytest.mark.parametrize(
    "address",
    [
        "/insights",
        "/insights?by=dataset&measure=data.preference&scale=1..2",
        "/insights?by=tag&measure=latency_ms",
        "/insights?from=1970-01-01",
        "/insights?from=2026-01-01&to=2026-01-02",
        "/comments",
        "/comments?q=script",
    ],
)
async def test_feedback_never_becomes_markup(client: httpx.AsyncClient, address: str) -> None:
    """Neither names of models, nor tags, nor comments."""
    await page(client, address)


async def test_averages_can_be_read_in_percent_of_a_scale(client: httpx.AsyncClient) -> None:
    """A preference from 1 to 2 is then a win rate."""
    found = await page(client, "/insights?measure=data.preference&scale=1..2")

    assert {"100.0%", "50.0%"} <= {text.strip() for text in found.texts}


@pytest.mark.parametrize(
    ("address", "parameter"),
    [
        ("/insights?by=day", "by"),
        ("/insights?by=modelx", "by"),
        ("/insights?measure=ratng", "measure"),
        ("/insights?scale=1-2", "scale"),
        ("/insights?scale=1..1", "scale"),
        ("/insights?scale=nan..2", "scale"),
        ("/comments?order=size", "order"),
    ],
)
async def test_what_a_page_cannot_show_is_reported_on_it(
    client: httpx.AsyncClient, address: str, parameter: str
) -> None:
    """As a page."""
    answer = await client.get(address)

    assert answer.status_code == 422
    assert "text/html" in answer.headers["content-type"]
    assert parameter in answer.text


async def test_comments_are_found_by_their_words(client: httpx.AsyncClient) -> None:
    """And these are marked, in what is otherwise the comment as it was written."""
    found = await client.get("/comments?q=refund")

    assert "A &lt;b&gt;<mark>Refund</mark>&lt;/b&gt;, please" in found.text
    assert 'href="/requests/a2"' in found.text
    assert "/requests/a4" not in found.text


async def test_comments_come_newest_first_with_those_who_wrote_nothing_left_out(
    client: httpx.AsyncClient,
) -> None:
    """Unless the worst are asked for."""
    newest = re.findall(r'data-key="([^"]*)"', (await client.get("/comments")).text)
    best = re.findall(r'data-key="([^"]*)"', (await client.get("/comments?order=-rating")).text)

    assert newest == ["a2", "a4"]
    assert best == ["a4", "a2"]


async def test_pages_without_rows_explain_what_to_do(client: httpx.AsyncClient) -> None:
    """With filters: to take them away."""
    for address in ("/insights?model=nobody", "/comments?q=nobodysaidthis"):
        found = await page(client, address)
        assert "curl" not in " ".join(found.texts)
        assert re.search("No (matching comments|requests in this period)", " ".join(found.texts))


async def test_tenants_see_their_own_alone(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """Statistics, charts and comments; a tenant without rows is told how to send some."""
    other, empty = (reading_key(tmp_path, tenant=tenant) for tenant in ("other", "empty"))
    app = query_over(tables, tmp_path, query_ingest_url="https://feedback.example")
    addresses = ("/v1/stats?by=model&from=1970-01-01", "/insights?from=1970-01-01", "/comments")

    async with client_of(app, other) as client:
        texts = [(await client.get(address)).text for address in addresses]
        assert "theirs" in texts[0]
        assert "theirs" in texts[1]
        for text in texts:
            assert not re.search("gpt|koala|Refund|clear", text)

    async with client_of(
        query_over(tables, tmp_path, query_ingest_url="https://feedback.example"), empty
    ) as client:
        for address in ("/insights", "/comments"):
            text = (await client.get(address)).text
            assert "curl -sS https://feedback.example/feedback/" in text
            assert not re.search("gpt|koala|Refund|theirs", text)


async def test_without_clickhouse_the_charts_have_a_message(tmp_path: Path) -> None:
    """Of three questions asked at once the first that fails is told, and the others are not left behind."""
    away = ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")

    async with client_of(query_over(away, tmp_path)) as client:
        answer = await client.get("/insights")

    assert answer.status_code == 503
    assert "ClickHouse does not answer" in answer.text
