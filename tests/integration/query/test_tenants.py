"""Two tenants with the same request ids: no route ever shows the one anything of the other."""

import io
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import orjson
import pyarrow.parquet as pq
import pytest
from fastapi.routing import APIRoute

from schemas.tables import ERASURES
from services.erasure.core.erasures import ErasureRecord, ErasureState, RequestedBy
from services.query.api import ROUTERS
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import insert, state_row
from tests.support.http.server import serving
from tests.support.operations.dead_letters import a_letter, a_row, put
from tests.support.query.app import faults_of, query_over, reading_key

MINE, OTHER = "tenants-mine", "tenants-other"
TIMES = {"received_at": "2026-11-22T08:00:00Z", "appended_at": "2026-11-22T08:00:00Z"}
FILTERS = (
    f"user_id={OTHER}", f"model={OTHER}", f"tag={OTHER}", f"q={OTHER.rpartition('-')[2]}",
    f"data.note=eq:{OTHER}", f"request.note=eq:{OTHER}", f"session_id={OTHER}",
)  # fmt: skip
PERIOD = "from=2026-11-01&to=2026-12-01"

SHOWING: dict[str, Iterable[str]] = {
    "/v1/feedback": ("", "?order=request_id", "?limit=1", *(f"?{one}" for one in FILTERS)),
    "/v1/feedback/export": [f"?format={name}" for name in ("csv", "ndjson", "parquet")],
    "/v1/feedback/{request_id}": ("", "?min_version=1"),
    "/v1/feedback/{request_id}/events": ("",),
    "/v1/stats": [f"?{PERIOD}&by={by}" for by in ("model", "tag", "data.note", "user_id")],
    "/v1/dead-letters": ("", "?raw_bytes=100"),
    "/v1/watermark": ("",),
    "/v1/erasures": ("",),
    "/v1/erasures/{erasure_id}": ("",),
}
"""Every route of the API, and what to ask of it."""

NOTHING_OF_A_TENANT = {"/v1/watermark", "/v1/erasures"}
STREAMS = {"/live"}

ROUTES = [
    route
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and "GET" in (route.methods or ())
]
PATHS = sorted({route.path for route in ROUTES})


def rows_of(tenant: str) -> dict[str, list[dict[str, Any]]]:
    """Return rows of all tables, each with the tenant's name in every value."""
    data = {"comment": tenant, "tags": [tenant], "user_id": tenant, "note": tenant, "rating": 5}
    request = {"model": tenant, "provider": tenant, "note": tenant, "session_id": tenant}
    event = {
        "tenant": tenant,
        "request_id": "r1",
        "version": 1,
        "event_id": str(UUID(int=1)),
        "op": "merge",
        "source": "native",
        "log_partition": 0,
        "log_offset": 1,
        "data": data,
        "request": request,
        **TIMES,
    }
    return {
        "feedback_state": [
            state_row(f"r{number}", tenant=tenant, data=data, request=request) for number in (1, 2)
        ],
        "feedback_events": [event],
    }


def erasure_of(tenant: str) -> dict[str, Any]:
    """Return an erasure of the tenant's, with the id that the other one's has."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return ErasureRecord(
        tenant=tenant,
        id=UUID(int=1),
        state=ErasureState.ASKED,
        asked_at=now,
        asked_by=RequestedBy.API,
        asked_for=(tenant,),
    ).row()


def letter_of(tenant: str) -> dict[str, Any]:
    """Return a dead letter of the tenant's about the same request."""
    event = rows_of(tenant)["feedback_events"][0]
    letter = a_letter(1 if tenant == MINE else 2, tenant=tenant, detail=tenant, original_version=2)
    return a_row(letter, f"{tenant}/r1".encode(), orjson.dumps(event))


@pytest.fixture(scope="module")
async def url(
    query_tables: ClickHouseSettings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, str, str]]:
    """A query service, and the keys of both tenants."""
    home = tmp_path_factory.mktemp("home")
    for tenant in (MINE, OTHER):
        for table, rows in rows_of(tenant).items():
            await insert(query_tables, table, rows)
        await insert(query_tables, ERASURES, [erasure_of(tenant)])
        await put(query_tables, letter_of(tenant))
    await insert(query_tables, "feedback_state", [state_row("theirs", tenant=OTHER, data={"note": OTHER})])
    keys = reading_key(home, Scope.ADMIN, tenant=MINE), reading_key(home, Scope.ADMIN, tenant=OTHER)
    async with serving(query_over(query_tables, home, kafka_bootstrap_servers="127.0.0.1:1")) as url:
        yield url, *keys


@pytest.fixture(scope="module")
async def mine(url: tuple[str, str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reads as the one tenant."""
    async with httpx.AsyncClient(base_url=url[0], headers={"x-api-key": url[1]}, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
async def other(url: tuple[str, str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reads as the other."""
    async with httpx.AsyncClient(base_url=url[0], headers={"x-api-key": url[2]}, timeout=60) as client:
        yield client


def shown(answer: httpx.Response) -> str:
    """Return everything that an answer says, opened if it is a file that is packed."""
    if "parquet" in answer.headers.get("content-type", ""):
        return str(pq.read_table(io.BytesIO(answer.content)).to_pylist())
    return str(answer.headers) + answer.text


async def read(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Return the answer, or the beginning of one that never ends."""
    if path not in STREAMS:
        return await client.get(path)
    async with client.stream("GET", path) as answer:
        content = await anext(answer.aiter_bytes())
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def test_every_route_of_the_api_is_asked() -> None:
    """A new one has to say here what to ask of it."""
    assert {route.path for route in ROUTES if route.include_in_schema} == set(SHOWING)


@pytest.mark.parametrize("path", PATHS)
async def test_no_route_shows_anything_of_another_tenant(
    mine: httpx.AsyncClient, other: httpx.AsyncClient, path: str
) -> None:
    """Both ask the same; each sees its own, pages and streams included, whatever a filter names."""
    for question in SHOWING.get(path, ("",)):
        asked = path.replace("{request_id}", "r1").replace("{erasure_id}", str(UUID(int=1))) + question
        answers = [shown(await read(client, asked)) for client in (mine, other)]
        # What was asked is repeated by pages, in filters and links.
        answers = [answer.replace(question, "") for answer in answers]

        assert OTHER not in answers[0], asked
        assert MINE not in answers[1], asked
        if path in SHOWING and path not in NOTHING_OF_A_TENANT:
            assert OTHER in answers[1], asked
            assert (MINE in answers[0]) == (question.removeprefix("?") not in FILTERS), asked


async def test_what_is_anothers_is_as_unknown_as_what_never_was(
    mine: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    """No answer tells the one from the other, and no cursor leads there."""
    theirs, nobodys = [await mine.get(f"/v1/feedback/{name}") for name in ("theirs", "nobodys")]
    events = await mine.get("/v1/feedback/theirs/events")
    cursor = (await other.get("/v1/feedback?limit=1")).json()["next_cursor"]
    foreign = await mine.get("/v1/feedback", params={"limit": 1, "cursor": cursor})

    assert (await other.get("/v1/feedback/theirs")).status_code == 200
    assert [one.status_code for one in (theirs, nobodys, events)] == [404] * 3
    assert theirs.json() == nobodys.json()
    assert "belongs to another query" in faults_of(foreign)["cursor"]
