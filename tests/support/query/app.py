"""The query service for tests: over a ClickHouse, without a socket, or as a real server on a free port."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from schemas.identity import DEFAULT_TENANT
from services.operations.keys import create_key
from services.query.app import QueryApp
from services.query.service import build, key_file
from services.query.settings import QuerySettings
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings


def reading_key(home: Path, *scopes: Scope, tenant: str = DEFAULT_TENANT) -> str:
    """Add a key to a home's key file, with the scope `read` if none is named, and return it."""
    return create_key(
        home / "keys.toml", tenant=tenant, scopes=scopes or (Scope.READ,), known_requests=False
    ).key


def query_settings(clickhouse: ClickHouseSettings, **settings: Any) -> QuerySettings:
    """Return settings that lead to a ClickHouse."""
    given: dict[str, Any] = clickhouse.model_dump(include=set(ClickHouseSettings.model_fields))
    return QuerySettings(**given | settings)


def query_over(clickhouse: ClickHouseSettings, home: Path, **settings: Any) -> QueryApp:
    """Return the application over a ClickHouse; open if the home has no key file."""
    chosen = query_settings(clickhouse, afterword_home=home, **settings)
    return QueryApp(build(chosen, key_file(chosen.keys_file)))


@asynccontextmanager
async def client_of(
    app: QueryApp, key: str | None = None, **headers: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Call an application without a socket, while its service runs."""
    if key:
        headers["authorization"] = f"Bearer {key}"
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers, timeout=60
        ) as client,
    ):
        yield client


def code_of(response: httpx.Response) -> str:
    """Return the code of a problem, after checking that it is a well-formed one."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code
    assert {"type", "title", "status", "code", "detail"} <= set(problem)
    assert (response.status_code in (429, 503)) == ("retry-after" in response.headers)
    return str(problem["code"])


def faults_of(response: httpx.Response) -> Mapping[str, str]:
    """Return what is wrong with each parameter, after checking that the question is refused for that."""
    assert response.status_code == 422, response.text
    assert code_of(response) == "invalid_query"
    return {fault["parameter"]: fault["detail"] for fault in response.json()["errors"]}
