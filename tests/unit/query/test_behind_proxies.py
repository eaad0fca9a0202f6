"""Behind proxies: who signs in, where links lead, and both forms of each path."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.query.api import ROUTERS
from services.query.app import QueryApp
from services.query.core.sessions import COOKIE
from services.query.settings import PATHS, QuerySettings
from services.runtime.http.core.sign_in_limit import TRIES
from services.runtime.settings import ClickHouseSettings
from tests.support.query.app import code_of, query_over, reading_key

NOWHERE = ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")
PROXY = "10.0.0.1"

PROBES = ("/livez", "/readyz", "/metrics")
ROUTES = (
    *sorted(
        {
            getattr(route, "path", "").replace("{request_id}", "r1").replace("{erasure_id}", "e1")
            for router in ROUTERS
            for route in router.routes
            if "GET" in (getattr(route, "methods", None) or ())
        }
        - {"/live", "/static/{edition_asked}/{name}"}
    ),
    *("/static/x/afterword.js", "/docs/assets/swagger-ui.css", "/openapi.json"),
    *PROBES,
)
"""Every route that takes GET, but for the one without an end."""


def query(home: Path, **settings: Any) -> QueryApp:
    """Return a query service whose servers are away: who may ask hears 503."""
    return query_over(NOWHERE, home, kafka_bootstrap_servers="127.0.0.1:1", **settings)


def from_address(app: QueryApp, peer: str = PROXY, **headers: str) -> httpx.AsyncClient:
    """Return a client that an application sees at an address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 4711))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.AsyncClient(transport=transport, base_url="http://query.example", headers=named)


async def try_key(client: httpx.AsyncClient, key: str, **headers: str) -> httpx.Response:
    """Sign in by the form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/sign-in", data={"key": key, "next": "/insights"}, headers=named)


async def guess(client: httpx.AsyncClient, times: int, **headers: str) -> list[int]:
    """Return how wrong keys are answered."""
    return [(await try_key(client, f"wrong-{number}", **headers)).status_code for number in range(times)]


async def test_a_right_key_is_let_in_however_many_wrong_ones_came(tmp_path: Path) -> None:
    """Only wrong ones wait, from whichever address: a stranger keeps nobody out."""
    key = reading_key(tmp_path)
    async with from_address(query(tmp_path)) as client:
        assert await guess(client, TRIES + 1) == [401] * TRIES + [429]
        answer = await try_key(client, key)
        assert (answer.status_code, answer.headers["location"]) == (303, "/insights")
        waits = await try_key(client, "wrong")

    assert waits.status_code == 429
    assert int(waits.headers["retry-after"]) > 0


async def test_strangers_behind_a_trusted_proxy_wait_each_for_itself(tmp_path: Path) -> None:
    """By the address that the proxy names; what a client writes left of it changes nothing."""
    reading_key(tmp_path)
    app = query(tmp_path, query_trusted_proxies="10.0.0.0/8")
    async with from_address(app) as client:
        first, other = "192.0.2.1", "192.0.2.2"
        made_up = [f"198.51.100.{number}, {first}" for number in range(TRIES + 1)]
        answers = [(await try_key(client, "wrong", x_forwarded_for=one)).status_code for one in made_up]
        assert answers == [401] * TRIES + [429]
        assert await guess(client, 1, x_forwarded_for=other) == [401]
        assert await guess(client, 1, forwarded=f"for={first}") == [429]
        assert await guess(client, TRIES + 1, x_forwarded_for="2001:db8::1") == [401] * TRIES + [429]
        assert await guess(client, 1, x_forwarded_for="2001:db8::2") == [429]
        assert await guess(client, 1, x_forwarded_for="2001:db8:0:1::1") == [401]


async def test_others_name_no_client(tmp_path: Path) -> None:
    """A client that is no trusted proxy has one address, whatever it writes."""
    reading_key(tmp_path)
    async with from_address(query(tmp_path)) as client:
        answers = [
            (await try_key(client, "wrong", x_forwarded_for=f"192.0.2.{number}")).status_code
            for number in range(TRIES + 1)
        ]

    assert answers == [401] * TRIES + [429]


@pytest.mark.parametrize(
    ("settings", "headers", "is_secure"),
    [
        ({}, {"x_forwarded_proto": "https"}, False),
        ({"query_trusted_proxies": PROXY}, {"x_forwarded_proto": "https"}, True),
        ({"query_trusted_proxies": PROXY}, {"forwarded": "for=192.0.2.1;proto=https"}, True),
        ({"query_trusted_proxies": PROXY}, {"x_forwarded_proto": "http"}, False),
        ({"query_secure_cookie": True}, {}, True),
    ],
)
async def test_a_session_of_https_stays_there(
    tmp_path: Path, settings: dict[str, Any], headers: dict[str, str], *, is_secure: bool
) -> None:
    """A trusted proxy says that its client speaks TLS, or the setting does."""
    key = reading_key(tmp_path)
    async with from_address(query(tmp_path, **settings)) as client:
        cookie = (await try_key(client, key, **headers)).headers["set-cookie"]

    assert ("secure" in cookie.lower()) is is_secure
    assert "Path=/;" in cookie


@pytest.mark.parametrize(("trusted", "status"), [(PROXY, 303), ("none", 403)], ids=["trusted", "not trusted"])
async def test_a_form_is_ours_by_the_host_that_the_browser_asked_for(
    tmp_path: Path, trusted: str, status: int
) -> None:
    """A trusted proxy may ask under another name, and say which one the browser has."""
    key = reading_key(tmp_path)
    app = query(tmp_path, query_trusted_proxies=trusted)
    async with from_address(app, host="upstream:8081", x_forwarded_host="feedback.example") as client:
        answer = await try_key(client, key, origin="https://feedback.example")
        foreign = await try_key(client, key, origin="https://evil.example")

    assert (answer.status_code, foreign.status_code) == (status, 403)


@pytest.mark.parametrize("trusted", ["127.0.0.1", "none"])
async def test_without_keys_a_proxy_serves_this_machine_alone(tmp_path: Path, trusted: str) -> None:
    """Whoever wrote the header: what comes from elsewhere is refused; from here it is served."""
    app = query(tmp_path, query_trusted_proxies=trusted)
    async with from_address(app, "127.0.0.1", host="127.0.0.1:8081") as client:
        for headers in ({"x-forwarded-for": "192.0.2.1"}, {"forwarded": "for=unknown"}):
            refused = await client.get("/v1/feedback", headers=headers)
            assert (refused.status_code, code_of(refused)) == (403, "forbidden")
        served = await client.get("/v1/feedback", headers={"x-forwarded-for": "::1"})

    assert (served.status_code, code_of(served)) == (503, "store_unavailable")


@pytest.mark.parametrize("path", ROUTES)
async def test_both_forms_of_a_path_and_head_are_answered_as_get_is(tmp_path: Path, path: str) -> None:
    """On every route, API, pages, files and probes, without a redirect from one form to the other."""
    key = reading_key(tmp_path)
    async with from_address(query(tmp_path, query_max_wait_seconds=0.1), x_api_key=key) as client:
        got = await client.get(path)
        assert got.status_code != 404
        for method, form in (("HEAD", path), ("GET", f"{path}/"), ("HEAD", f"{path}/")):
            answer = await client.request(method, form)
            assert answer.status_code == got.status_code, (method, form)
            for name in ("content-type", "location", "cache-control", "www-authenticate"):
                assert answer.headers.get(name) == got.headers.get(name), (method, form)


async def test_an_id_may_end_in_a_slash(tmp_path: Path) -> None:
    """It is `%2F` in a path; an id that is nothing else than that as well."""
    async with from_address(query(tmp_path), "127.0.0.1", host="localhost") as client:
        for path in ("/v1/feedback/a%2F", "/v1/feedback/%2F/", "/v1/feedback/a%2F/events/", "/requests/%2F/"):
            assert (await client.get(path)).status_code == 503, path
        assert (await client.get("/v1/feedback//")).status_code == 404


ADDRESS = re.compile(r' (?:href|src|action)="([^"#]*)')
ROOT = "/feedback-ui"


@pytest.mark.parametrize("prefix", [ROOT, ""], ids=["kept by the proxy", "stripped by the proxy"])
async def test_everything_leads_to_where_the_proxy_publishes_it(tmp_path: Path, prefix: str) -> None:
    """Links, forms, files, redirects, the cookie, the API's page and its document."""
    key = reading_key(tmp_path)
    app = query(tmp_path, query_root_path=f"{ROOT}/")
    async with from_address(app) as client:
        asked = await client.get(f"{prefix}/insights?by=tag")
        assert asked.headers["location"] == f"{ROOT}/sign-in?next=%2Finsights%3Fby%3Dtag"
        form = await client.get(f"{prefix}/sign-in?next=%2Finsights%3Fby%3Dtag")
        assert f'data-root="{ROOT}"' in form.text
        assert f'action="{ROOT}/sign-in"' in form.text
        signed = await client.post(f"{prefix}/sign-in", data={"key": key, "next": "/insights?by=tag"})
        assert signed.headers["location"] == f"{ROOT}/insights?by=tag"
        assert f"Path={ROOT};" in signed.headers["set-cookie"]
        cookie = {"cookie": f"{COOKIE}={signed.cookies[COOKIE]}"}
        for path in ("/insights", "/", "", "/requests/a%2Fb?before=x"):
            page = await client.get(f"{prefix}{path}", headers=cookie)
            assert page.status_code in (422, 503), path
            links = [link for link in ADDRESS.findall(page.text) if link]
            assert f"{ROOT}/pipeline" in links
            assert [link for link in links if not link.startswith(f"{ROOT}/")] == []
            for file in (link for link in links if "/static/" in link):
                got = await client.get(prefix + file.removeprefix(ROOT))
                assert got.headers["cache-control"].endswith("immutable")
        short = await client.get(f"{prefix}/?tag=&vote=positive", headers=cookie)
        assert short.headers["location"] == f"{ROOT}/?vote=positive"
        out = await client.post(f"{prefix}/sign-out", headers=cookie)
        assert out.headers["location"] == f"{ROOT}/sign-in"
        assert f"Path={ROOT};" in out.headers["set-cookie"]
        docs = await client.get(f"{prefix}/docs/")
        assert f'"{ROOT}/docs/assets/swagger-ui.css"' in docs.text
        document = (await client.get(f"{prefix}/openapi.json")).json()
        assert document["servers"] == [{"url": ROOT}]
        assert (await client.get(f"{prefix}/livez")).status_code == 200


async def test_text_of_others_is_no_address(tmp_path: Path) -> None:
    """What looks like a link in a page's text stays what it was."""
    reading_key(tmp_path)
    app = query(tmp_path, query_root_path=ROOT)
    async with from_address(app) as client:
        page = await client.get("/sign-in", params={"next": '/x href="/evil'})
        told = await client.get("/sign-in", params={"next": "/a&quot;href=&quot;/evil"})

    assert f"{ROOT}/evil" not in page.text + told.text


def test_a_prefix_that_is_a_path_of_query_is_refused() -> None:
    """The list of those paths is complete."""
    taken = {
        route.path.split("/")[1] for router in ROUTERS for route in router.routes if hasattr(route, "path")
    }
    assert set(PATHS) == (taken | {"livez", "readyz", "metrics", "openapi.json"}) - {""}

    for path in PATHS:
        with pytest.raises(ValueError, match="another prefix"):
            QuerySettings(query_root_path=f"/{path}/x")
