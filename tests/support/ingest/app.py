"""Ingest for tests: over a log in memory without a socket, or as a real server on a free port."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson

from schemas.identity import DEFAULT_TENANT
from services.ingest.app import IngestApp, assemble, key_file
from services.ingest.core.errors import Code, Rejection
from services.ingest.dialects import DIALECTS
from services.ingest.dialects.dialect import Dialect, PastEvent, Repeats, Route, StoredQuery
from services.ingest.event_log import EventLog
from services.ingest.known_requests import KnownRequests
from services.ingest.settings import IngestSettings
from services.ingest.stored_events import StoredEvents
from services.operations.keys import create_key
from services.runtime.http.keys import Scope


class NothingKnown:
    """The lookups of an ingest that never reached ClickHouse: they find nothing."""

    async def is_certainly_unknown(self, _tenant: str, _request_id: str) -> bool:
        """Never be certain."""
        return False

    async def find_repeat(
        self, _tenant: str, _request_id: str, _data: dict[str, Any], _repeats: Repeats
    ) -> int | None:
        """Find no repeat."""
        return None


class NothingStored:
    """The stored events of an ingest that never reached ClickHouse."""

    async def read(self, _tenant: str | None, _query: StoredQuery) -> list[PastEvent]:
        """Refuse: they cannot be read."""
        raise Rejection(Code.LOOKUP_UNAVAILABLE, "ClickHouse cannot be reached")


def new_key(home: Path, *scopes: Scope, tenant: str = DEFAULT_TENANT, known_requests: bool = False) -> str:
    """Add a key to a home's key file, and return it."""
    made = create_key(
        home / "keys.toml", tenant=tenant, scopes=scopes or (Scope.WRITE,), known_requests=known_requests
    )
    return made.key


def ingest_over(
    log: EventLog,
    home: Path,
    known_requests: KnownRequests | None = None,
    stored_events: StoredEvents | None = None,
    dialects: Sequence[Dialect] = DIALECTS,
    **settings: Any,
) -> IngestApp:
    """Return the application over a log; open if the home has no key file."""
    chosen = IngestSettings(afterword_home=home, **settings)
    known, stored = known_requests or NothingKnown(), stored_events or NothingStored()
    return IngestApp(assemble(chosen, log, known, stored, key_file(chosen.keys_file)), dialects)


def client_of(app: IngestApp, key: str | None = None, **headers: str) -> httpx.AsyncClient:
    """Return a client that calls an application without a socket, and sends these headers."""
    if key:
        headers["authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=headers)


def documented_path(dialect: Dialect, route: Route) -> str:
    """Return the path under which `/openapi.json` has a route."""
    return route.path if route.doc is None else f"/{dialect.name}{route.path}"


def code_of(response: httpx.Response) -> str:
    """Return the code of a problem, after checking that it is a well-formed one."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert set(problem) - {"errors"} == {"type", "title", "status", "code", "detail"}
    assert (response.status_code in (429, 503)) == ("retry-after" in response.headers)
    return str(problem["code"])


def paths_of(response: httpx.Response) -> list[str]:
    """Return where a body is at fault, after checking that it is refused for that."""
    assert response.status_code == 422
    assert code_of(response) == "invalid_feedback"
    return [fault["path"] for fault in response.json()["errors"]]


def decoded(values: list[bytes]) -> list[dict[str, Any]]:
    """Return the events that these bytes are."""
    return [orjson.loads(value) for value in values]
