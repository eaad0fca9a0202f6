"""The dashboard over HTTP: headers, files, the sign-in, and what is shown when there is nothing to show."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.operations.keys import revoke_keys
from services.query.core.sessions import COOKIE
from services.query.dashboard.render import address, assets, edition
from services.runtime.http.keys import Scope, parse
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, run, state_row
from tests.support.eventually import eventually
from tests.support.query.app import client_of, query_over, reading_key

PAGES = ("/", "/requests/a", "/dead-letters", "/pipeline")


@pytest.fixture
async def tables(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """A database with tables and no rows."""
    await create_tables(clickhouse_settings)
    return clickhouse_settings


class Tags(HTMLParser):
    """Collects the tags of a page."""

    @classmethod
    def of(cls, text: str) -> list[tuple[str, dict[str, str | None]]]:
        """Return each tag's name and attributes."""
        parser = cls()
        parser.found = []
        parser.feed(text)
        return parser.found

    found: list[tuple[str, dict[str, str | None]]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
async def empty(
    warehouse: ClickHouseSettings, generations: Iterator[int]
) -> AsyncIterator[ClickHouseSettings]:
    """A database with tables that stays without rows, for tests that need none."""
    settings = warehouse.replace(clickhouse_database=f"test_{os.getpid()}_{next(generations)}")
    await run(
        warehouse.replace(clickhouse_database="default"), f"CREATE DATABASE {settings.clickhouse_database}"
    )
    await create_tables(settings)
    yield settings
    await run(settings, f"DROP DATABASE {settings.clickhouse_database}")


def signed_in(response: httpx.Response) -> str:
    """Return the cookie of a sign-in, after checking that scripts and other sites cannot use it."""
    assert response.status_code == 303, response.text
    cookie = response.headers["set-cookie"]
    assert {"httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; "))
    return cookie.partition("=")[2].partition(";")[0]


async def test_pages_keep_to_themselves(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """Every page, also one about a problem, forbids everything that does not come from here."""
    await insert(tables, "feedback_state", [state_row("a")])
    async with client_of(query_over(tables, tmp_path)) as client:
        for path in ("/", "/requests/a", "/requests/nobody", "/?rating_min=x", "/sign-in"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= set(
                policy.split("; ")
            )
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"


async def test_files_are_kept_for_ever_under_an_address_of_their_content(
    empty: ClickHouseSettings, tmp_path: Path
) -> None:
    """A page of another edition gets today's file, and asks again next time."""
    async with client_of(query_over(empty, tmp_path)) as client:
        for name, asset in assets().items():
            found = await client.get(address(name))
            assert (found.status_code, found.content) == (200, asset.content)
            assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
        old = await client.get("/static/0123456789abcdef/afterword.css")
        assert old.headers["cache-control"] == "no-cache"
        assert old.headers["content-type"].startswith("text/css")
        assert (await client.get(f"/static/{edition()}/..%2f..%2frender.py")).status_code == 404


async def test_no_page_has_inline_script_or_style(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """The policy would stop it."""
    await insert(tables, "feedback_state", [state_row("a", data={"rating": 5, "comment": "<b onclick=x>"})])
    async with client_of(query_over(tables, tmp_path)) as client:
        for path in PAGES:
            for tag, attributes in Tags.of((await client.get(path)).text):
                assert tag != "style"
                assert tag != "script" or "src" in attributes
                assert not [name for name in attributes if name == "style" or name.startswith("on")]
                for name in ("src", "href", "action"):
                    assert (attributes.get(name) or "/")[0] in "/#", attributes


async def test_a_key_becomes_a_cookie_and_a_wrong_one_a_clear_message(
    empty: ClickHouseSettings, tmp_path: Path
) -> None:
    """Whoever wanted a page gets it after the sign-in, and no address elsewhere."""
    key = reading_key(tmp_path)
    writer = reading_key(tmp_path, Scope.WRITE)
    async with client_of(query_over(empty, tmp_path)) as client:
        away = await client.get("/?tag=a&tag=b")
        assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=%2F%3Ftag%3Da%26tag%3Db")
        wrong = await client.post("/sign-in", data={"key": "aw_wrong", "next": "/?tag=a"})
        assert wrong.status_code == 401
        assert "unknown" in wrong.text
        assert 'value="/?tag=a"' in wrong.text
        assert "set-cookie" not in wrong.headers
        assert "does not have the scope" in (await client.post("/sign-in", data={"key": writer})).text

        right = await client.post("/sign-in", data={"key": f" {key}\n", "next": "/?tag=a"})
        signed_in(right)
        assert right.headers["location"] == "/?tag=a"
        elsewhere = await client.post("/sign-in", data={"key": key, "next": "//evil.example"})
        assert elsewhere.headers["location"] == "/"
        assert (await client.get("/")).status_code == 200
        out = await client.post("/sign-out")
        assert out.headers["location"] == "/sign-in"
        assert (await client.get("/")).status_code == 303


async def test_the_cookie_is_for_https_alone_where_that_is_asked_for(
    empty: ClickHouseSettings, tmp_path: Path
) -> None:
    """Behind a TLS proxy the service itself sees http."""
    key = reading_key(tmp_path)
    for is_secure in (False, True):
        async with client_of(query_over(empty, tmp_path, query_secure_cookie=is_secure)) as client:
            answer = await client.post("/sign-in", data={"key": key})
            assert ("secure" in answer.headers["set-cookie"].lower().split("; ")) is is_secure


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
async def test_a_form_of_another_site_does_nothing(
    path: str, empty: ClickHouseSettings, tmp_path: Path
) -> None:
    """Neither may it sign somebody in as somebody else."""
    key = reading_key(tmp_path)
    async with client_of(query_over(empty, tmp_path)) as client:
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
            answer = await client.post(path, data={"key": key}, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


async def test_guessing_is_slowed_down(empty: ClickHouseSettings, tmp_path: Path) -> None:
    """After some wrong keys an address has to wait, but never with the right one."""
    key = reading_key(tmp_path)
    async with client_of(query_over(empty, tmp_path)) as client:
        for _ in range(10):
            assert (await client.post("/sign-in", data={"key": "aw_wrong"})).status_code == 401
        late = await client.post("/sign-in", data={"key": "aw_wrong"})
        assert late.status_code == 429
        assert int(late.headers["retry-after"]) >= 1
        assert signed_in(await client.post("/sign-in", data={"key": key}))


async def test_a_revoked_key_ends_its_sessions(empty: ClickHouseSettings, tmp_path: Path) -> None:
    """And so does a forged cookie not begin one."""
    key = reading_key(tmp_path)
    app = query_over(empty, tmp_path)
    async with client_of(app) as client:
        token = signed_in(await client.post("/sign-in", data={"key": key}))
        assert (await client.get("/")).status_code == 200
        keys = tmp_path / "keys.toml"
        revoke_keys(keys, [record.id for record in parse(keys.read_text())])

        async def is_led_to_sign_in() -> bool:
            return (await client.get("/")).status_code == 303

        assert await eventually(is_led_to_sign_in)
        client.cookies.set(COOKIE, token[:-1] + ("A" if token[-1] != "A" else "B"))
        assert (await client.get("/")).status_code == 303


async def test_without_keys_no_sign_in_is_needed(empty: ClickHouseSettings, tmp_path: Path) -> None:
    """On this machine; a page that a foreign name leads to is refused."""
    async with client_of(query_over(empty, tmp_path)) as client:
        assert (await client.get("/sign-in", params={"next": "/?tag=a"})).headers["location"] == "/?tag=a"
        assert "Sign out" not in (await client.get("/")).text
        foreign = await client.get("/", headers={"host": "evil.example"})
        assert foreign.status_code == 403


async def test_an_empty_log_explains_how_to_fill_it(empty: ClickHouseSettings, tmp_path: Path) -> None:
    """With a line for this very installation, and with a place for the key where one is needed."""
    url = "https://feedback.example:8443"
    async with client_of(query_over(empty, tmp_path, query_ingest_url=f"{url}/")) as client:
        text = (await client.get("/")).text
        assert "No feedback yet" in text
        assert f"curl -sS {url}/feedback/chatcmpl-1" in text
        assert "Authorization" not in text
        assert "No feedback yet" in (await client.get("/?tag=a")).text
    key = reading_key(tmp_path)
    async with client_of(query_over(empty, tmp_path), key) as client:
        assert "Authorization: Bearer YOUR_WRITE_KEY" in (await client.get("/")).text


async def test_an_empty_answer_to_filters_has_a_message(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """That is another thing than having nothing yet."""
    await insert(tables, "feedback_state", [state_row("a")])
    async with client_of(query_over(tables, tmp_path)) as client:
        text = (await client.get("/?tag=none")).text
        assert "No matching requests" in text
        assert "No feedback yet" not in text
        assert 'href="/">Show all requests' in text


async def test_pages_of_the_log_follow_each_other(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """All rows once, in the order asked for, with the filters kept; exports have the filters alone."""
    made = [state_row(f"r{n:03}", n, data={"rating": n % 5 + 1, "tags": ["t"]}) for n in range(1, 121)]
    await insert(tables, "feedback_state", made)
    async with client_of(query_over(tables, tmp_path)) as client:
        path, seen = "/?tag=t&order=request_id", []
        while path:
            text = (await client.get(path)).text
            seen += re.findall(r'<tbody data-key="([^"]+)"', text)
            assert 'href="/v1/feedback/export?tag=t&amp;format=csv"' in text
            following = re.search(r'rel="next" href="([^"]+)"', text)
            path = following[1].replace("&amp;", "&") if following else ""
    assert seen == [row["request_id"] for row in made]


async def test_a_form_is_led_to_its_short_address(empty: ClickHouseSettings, tmp_path: Path) -> None:
    """Which can be sent to somebody."""
    async with client_of(query_over(empty, tmp_path)) as client:
        sent = "/?q=&vote=negative&tag=&where_part=data&where_key=judge&where_is=ge&where_value=3"
        answer = await client.get(sent)
        assert answer.headers["location"] == "/?vote=negative&data.judge=ge%3A3"
        unknown = await client.get("/?vot=negative")
        assert unknown.status_code == 422
        assert "did you mean vote?" in unknown.text


async def test_no_page_has_a_nul(tables: ClickHouseSettings, tmp_path: Path) -> None:
    """Which is no character of HTML, though JSON text may have it: in values, keys, and in addresses."""
    data = {"comment": "a\0b", "user_id": "u\0", "tags": ["t\0"], "nul\0key": "v\0"}
    facts = {"model": "m\0", "messages": [{"role": "user\0", "content": "hi\0"}]}
    await insert(tables, "feedback_state", [state_row("r", data=data, request=facts)])
    async with client_of(query_over(tables, tmp_path)) as client:
        for address in (
            "/",
            "/requests/r",
            "/comments",
            "/insights?by=model",
            "/?user_id=u%00&data.nul%00key=v%00",
        ):
            answer = await client.get(address)

            assert answer.status_code == 200, address
            assert b"\0" not in answer.content, address
            assert b"&#0;" not in answer.content


async def test_a_request_with_several_raters_has_a_table_of_them(
    tables: ClickHouseSettings, tmp_path: Path
) -> None:
    """With the latest value of each and how far they agree; a key of one rater is not in it."""
    bodies: list[dict[str, Any]] = [
        {"user_id": "ann", "rating": 1},
        {"user_id": "<bob>", "rating": 4},
        {"user_id": "ann", "rating": 2, "comment": "Alone"},
    ]
    for version, data in enumerate(bodies, 1):
        event = {
            "tenant": "default", "request_id": "rated", "version": version, "log_offset": version,
            "event_id": f"019a9f6e-0000-7000-8000-{version:012x}", "op": "merge", "source": "native",
            "received_at": "2026-11-22T08:00:00Z", "appended_at": "2026-11-22T08:00:00Z", "data": data,
            "item_id": f"score<{version}>", "at": "2026-11-21T08:00:00Z",
        }  # fmt: skip
        await insert(tables, "feedback_events", [event])
    await insert(tables, "feedback_state", [state_row("rated", data=bodies[-1], version=3)])
    async with client_of(query_over(tables, tmp_path)) as client:
        text = (await client.get("/requests/rated")).text

    card = text[text.index('data-key="raters"') : text.index('data-key="request"')]
    assert "2 raters, mean 3, disagreement 50.0%" in card
    assert card.index("ann") < card.index("&lt;bob&gt;")
    assert "Alone" not in card
    assert "item id   score&lt;1&gt;" in text
    assert ", given <time" in text


@pytest.mark.parametrize("request_id", ["a/b", "ü 💥", "..", "<script>", "x" * 256])
async def test_every_request_has_a_page(request_id: str, tables: ClickHouseSettings, tmp_path: Path) -> None:
    """Found by the link that the log has."""
    await insert(tables, "feedback_state", [state_row(request_id, data={"rating": "amazing"})])
    async with client_of(query_over(tables, tmp_path)) as client:
        log = (await client.get("/")).text
        link = re.search(r'request-id" href="([^"]+)"', log)
        assert link
        answer = await client.get(link[1].replace("&amp;", "&"))
        assert answer.status_code == 200
        assert "❤️" in answer.text
        assert "<script>" not in answer.text
