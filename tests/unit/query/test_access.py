"""Who may read: keys and their scopes, browsers, and this machine alone while there are no keys."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from services.operations.keys import revoke_keys
from services.query.access import Access
from services.query.api import ROUTERS
from services.query.app import QueryApp
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.core.sessions import COOKIE
from services.query.service import key_file
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings
from tests.support.eventually import eventually
from tests.support.query.app import code_of, query_over, reading_key

NOWHERE = ClickHouseSettings(clickhouse_url="http://127.0.0.1:1")
HOUR = 3600.0

PATHS = sorted(
    {
        route.path.replace("{request_id}", "r1")
        for router in ROUTERS
        for route in router.routes
        if getattr(route, "include_in_schema", False) and hasattr(route, "path")
    }
)
"""Every route of the API."""
FOR_ADMINS = {"/v1/erasures", "/v1/erasures/{erasure_id}"}


def over_nothing(home: Path) -> QueryApp:
    """Return a query service whose servers are away: who may ask hears 503."""
    return query_over(NOWHERE, home, kafka_bootstrap_servers="127.0.0.1:1")


def client_of(home: Path, **headers: str) -> httpx.AsyncClient:
    """Return a client of it that sends these headers."""
    transport = httpx.ASGITransport(over_nothing(home), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


def request_with(**headers: str) -> Request:
    """Return a request that sends these headers."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def code_for(access: Access, **headers: str) -> str:
    """Return the tenant that these headers read as, or how they are refused."""
    try:
        return access.reader(request_with(**headers)).tenant
    except QueryProblem as problem:
        return problem.code


@pytest.mark.parametrize("path", PATHS)
async def test_every_route_needs_a_key_that_reads(tmp_path: Path, path: str) -> None:
    """Without one 401, with one that only writes 403; a question that is wrong does not matter then."""
    writer = reading_key(tmp_path, Scope.WRITE)
    reader = reading_key(tmp_path, Scope.ADMIN if path in FOR_ADMINS else Scope.READ)
    async with client_of(tmp_path) as client:
        without = await client.get(path, params={"nonsense": "1"})
        unknown = await client.get(path, headers={"authorization": "Bearer nonsense"})
        writing = await client.get(path, headers={"x-api-key": writer})
        reading = await client.get(path, headers={"x-api-key": reader}, params={"nonsense": "1"})

    assert [(one.status_code, code_of(one)) for one in (without, unknown)] == [(401, "unauthenticated")] * 2
    assert without.headers["www-authenticate"] == "Bearer"
    assert (writing.status_code, code_of(writing)) == (403, "forbidden")
    assert (reading.status_code, code_of(reading)) == (422, "invalid_query")


def test_a_key_decides_the_tenant(tmp_path: Path) -> None:
    """In either header; admin reads too, and nothing else in a request names a tenant."""
    acme, other = reading_key(tmp_path, tenant="acme"), reading_key(tmp_path, Scope.ADMIN, tenant="other")
    access = Access(key_file(tmp_path / "keys.toml"), HOUR)

    assert code_for(access, authorization=f"bearer  {acme}") == "acme"
    assert code_for(access, x_api_key=other) == "other"
    assert code_for(access, authorization=f"Basic {acme}") == "unauthenticated"
    assert code_for(access, x_api_key="") == "unauthenticated"
    assert code_for(access, x_tenant="acme", cookie="tenant=acme") == "unauthenticated"


async def test_a_key_in_the_path_does_not_exist_here(tmp_path: Path) -> None:
    """Such paths are for writing: there is no such route, whatever the key."""
    key = reading_key(tmp_path, Scope.ADMIN)
    async with client_of(tmp_path) as client:
        answer = await client.get(f"/k/{key}/v1/feedback")
        signed = await client.get(f"/k/{key}/v1/feedback", headers={"x-api-key": key})

    assert [(one.status_code, code_of(one)) for one in (answer, signed)] == [(404, "not_found")] * 2
    assert key not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example:8081"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
async def test_without_keys_only_this_machine_is_served(tmp_path: Path, headers: dict[str, str]) -> None:
    """A page from elsewhere is refused on every route: API, pages, documents, probes, and none at all."""
    paths = [*PATHS, "/", "/sign-in", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics", "/nowhere"]
    async with client_of(tmp_path, **headers) as client:
        for path in paths:
            for method in ("GET", "POST"):
                answer = await client.request(method, path)
                assert (answer.status_code, code_of(answer)) == (403, "forbidden"), (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8081", "x-api-key": "ignored"},
        {"host": "[::1]", "origin": "http://localhost:3000"},
    ],
)
async def test_without_keys_this_machine_is_served(tmp_path: Path, headers: dict[str, str]) -> None:
    """As the default tenant, whatever key it sends."""
    async with client_of(tmp_path, **headers) as client:
        answer = await client.get("/v1/feedback")

    assert (answer.status_code, code_of(answer)) == (503, "store_unavailable")


async def test_documents_and_probes_are_open_to_all_once_there_are_keys(tmp_path: Path) -> None:
    """They hold nothing of a tenant; probes take no other method."""
    reading_key(tmp_path)
    async with client_of(tmp_path, host="feedback.example") as client:
        answers = [await client.get(path) for path in ("/livez", "/metrics", "/docs", "/openapi.json")]
        posted = await client.post("/livez")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert (posted.status_code, code_of(posted)) == (405, "method_not_allowed")
    assert posted.headers["allow"] == "GET, HEAD"


async def test_a_session_reads_as_its_key_does(tmp_path: Path) -> None:
    """Until it is too old; and a key in a header counts before it."""
    now = 1_800_000_000.0
    keys = key_file(tmp_path / "keys.toml")
    acme, other = reading_key(tmp_path, tenant="acme"), reading_key(tmp_path, tenant="other")
    access = Access(keys, HOUR, lambda: now)
    cookie = f"{COOKIE}={access.sign_in(f' {acme} ')}"

    assert code_for(access, cookie=cookie) == "acme"
    assert code_for(access, cookie=cookie, x_api_key=other) == "other"
    assert code_for(access, cookie=cookie, x_api_key="wrong") == "unauthenticated"
    now += HOUR
    assert code_for(access, cookie=cookie) == "acme"
    now += 1
    assert code_for(access, cookie=cookie) == "unauthenticated"
    now -= 2 * HOUR
    assert code_for(access, cookie=cookie) == "unauthenticated"


async def test_a_session_that_was_not_issued_is_invalid(tmp_path: Path) -> None:
    """Changed, cut, of another key's name, or of a deployment with other keys."""
    access = Access(key_file(tmp_path / "keys.toml"), HOUR)
    acme = reading_key(tmp_path, tenant="acme")
    reading_key(tmp_path, tenant="other")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    foreign = Access(key_file(elsewhere / "keys.toml"), HOUR).sign_in(reading_key(elsewhere, tenant="acme"))
    token = access.sign_in(acme)
    name, moment, signature = token.rsplit(".", 2)
    forged = [
        "",
        "nonsense",
        foreign,
        token[:-1],
        f"{name}x.{moment}.{signature}",
        f"{name}.{moment}",
        f"{name}.zzzzzz.{signature}",
        acme,
    ]

    assert {code_for(access, cookie=f"{COOKIE}={one}") for one in forged} == {"unauthenticated"}


async def test_a_revoked_key_ends_its_sessions(tmp_path: Path) -> None:
    """Within seconds, in every process that reads the file; others continue."""
    access = Access(key_file(tmp_path / "keys.toml"), HOUR)
    mine, other = reading_key(tmp_path, tenant="acme"), reading_key(tmp_path, tenant="other")
    token, kept = access.sign_in(mine), access.sign_in(other)
    revoke_keys(tmp_path / "keys.toml", [token.rsplit(".", 2)[0]])

    await eventually(lambda: code_for(access, cookie=f"{COOKIE}={token}") == "unauthenticated")
    assert code_for(access, x_api_key=mine) == "unauthenticated"
    assert code_for(access, cookie=f"{COOKIE}={kept}") == "other"


@pytest.mark.parametrize(
    ("scopes", "code"),
    [((Scope.WRITE,), ProblemCode.FORBIDDEN), ((), ProblemCode.UNAUTHENTICATED)],
    ids=["writes", "unknown"],
)
def test_only_a_key_that_reads_signs_in(tmp_path: Path, scopes: tuple[Scope, ...], code: ProblemCode) -> None:
    """One that only writes, or that is not known, is told so."""
    key = reading_key(tmp_path, *scopes) if scopes else reading_key(tmp_path) + "x"
    access = Access(key_file(tmp_path / "keys.toml"), HOUR)

    with pytest.raises(QueryProblem) as refused:
        access.sign_in(key)
    assert refused.value.code is code


async def test_what_fails_unforeseen_is_a_problem_like_any_other(tmp_path: Path) -> None:
    """500, and nothing of the error in it."""
    app = over_nothing(tmp_path)

    @app.get("/broken")
    async def broken() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("secret")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/broken")

    assert (answer.status_code, code_of(answer)) == (500, "internal_error")
    assert "secret" not in answer.text


async def test_what_is_not_there_is_a_problem_too(tmp_path: Path) -> None:
    """An unknown route, and a method that a route does not take."""
    async with client_of(tmp_path) as client:
        missing = await client.get("/v2/feedback")
        posted = await client.post("/v1/feedback", json={})

    assert (missing.status_code, code_of(missing)) == (404, "not_found")
    assert (posted.status_code, code_of(posted)) == (405, "method_not_allowed")
    assert posted.headers["allow"] == "GET, HEAD"
