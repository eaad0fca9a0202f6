"""The ingest application: its parts, their start and stop, and the ASGI entry point.

The routes of the dialects are answered by `Handler`; FastAPI serves only the documentation.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from services.ingest.body import BodyReader
from services.ingest.bulk import BulkEvents
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.router import PathMatch, Router
from services.ingest.dialects import DIALECTS
from services.ingest.dialects.dialect import Dialect
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import EventBuilder
from services.ingest.event_log import EventLog
from services.ingest.handler import Handler
from services.ingest.items import ItemEvents
from services.ingest.known_requests import ClickHouseLookups, Freshness, KnownRequests, StoredRequests
from services.ingest.metrics import KEYS_DAMAGED
from services.ingest.publisher import Publisher
from services.ingest.responses import UntakenPaths, problem_response, respond
from services.ingest.routes import document_routes, with_problem_schema
from services.ingest.settings import IngestSettings
from services.ingest.single import SingleEvents
from services.ingest.stored_events import ClickHouseEvents, StoredEvents
from services.runtime.core.quota import RateLimiter
from services.runtime.fairness import FairQueue
from services.runtime.http import swagger
from services.runtime.http.core.proxies import Proxies, inner_path
from services.runtime.http.health import Health, probe_app
from services.runtime.http.keys import Forbidden, Guard, KeyFile
from services.runtime.http.server import lifespan

STOP_SECONDS = 2.0
"""How long to wait for Kafka to acknowledge the last events when the process stops."""


def key_file(path: Path) -> KeyFile:
    """Return the key file of this process."""
    return KeyFile(path, time.monotonic)


@dataclass
class IngestService:
    """Ingest without HTTP server and connections.  A test starts and stops its own log."""

    handler: Handler
    health: Health
    guard: Guard
    root: str
    """The path prefix under which a proxy publishes ingest, or empty."""

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""


@dataclass
class ConnectedIngest(IngestService):
    """Ingest with its connections to Kafka and ClickHouse."""

    publisher: Publisher
    lookups: ClickHouseLookups
    freshness: Freshness
    eager: bool
    """Connect to ClickHouse at the start, and not at the first lookup."""

    async def start(self) -> None:
        """Start to connect to Kafka and ClickHouse, which need not be up yet."""
        self.publisher.start()
        if self.eager:
            self.lookups.connect_soon()

    async def stop(self) -> None:
        """Write the queued events, then close the connections."""
        await self.publisher.stop(STOP_SECONDS)
        await self.freshness.stop()
        await self.lookups.stop()


def build(settings: IngestSettings, keys: KeyFile) -> ConnectedIngest:
    """Return the service that the settings describe."""
    publisher, lookups = Publisher(settings), ClickHouseLookups(settings)
    freshness = Freshness(settings, lookups, publisher.partition_of, lambda: publisher.generation)
    stored = StoredRequests(settings, lookups, freshness)
    events = ClickHouseEvents(settings, lookups, lambda: publisher.generation)
    parts = assemble(settings, publisher, stored, events, keys)
    eager = settings.ingest_lookup or settings.ingest_known_requests
    return ConnectedIngest(
        parts.handler, parts.health, parts.guard, parts.root, publisher, lookups, freshness, eager
    )


def assemble(
    settings: IngestSettings,
    log: EventLog,
    known_requests: KnownRequests,
    stored_events: StoredEvents,
    keys: KeyFile,
) -> IngestService:
    """Return ingest over a log that the caller starts and stops."""
    guard = Guard(keys)
    builder = EventBuilder(log, store_texts=settings.ingest_store_texts)
    erase_log = EraseLog(settings)
    queue = FairQueue()
    single_events = SingleEvents(
        builder,
        known_requests,
        erase_log,
        only_known=settings.ingest_known_requests,
        find_repeats=settings.ingest_lookup,
    )
    handler = Handler(
        guard,
        BodyReader(settings.ingest_max_upload_bytes, settings.ingest_body_seconds),
        RateLimiter(settings.ingest_events_per_second),
        single_events,
        BulkEvents(builder, erase_log, queue),
        ItemEvents(builder, queue),
        stored_events,
        Proxies(settings.ingest_trusted_proxies),
        settings.ingest_root_path,
    )
    health = Health(
        liveness={"log": log.liveness},
        readiness={"log": log.readiness, "keys": keys.refusal},
        warnings={"keys": keys.warning},
    )
    KEYS_DAMAGED.set_function(lambda: bool(keys.refusal() or keys.warning()))
    return IngestService(handler, health, guard, settings.ingest_root_path)


PROBES = (b"/livez", b"/readyz", b"/metrics")
PROBE_METHODS = ("GET", "HEAD")

DESCRIPTION = """Accepts feedback on LLM answers, and answers success only after Kafka has stored it.

Every dialect is available under its own prefix, and most of their paths without it; `/v1/events` is
Afterword's own.  An error is `application/problem+json` with a stable `code`, or in the form that clients of
the dialect expect.
`503 log_unavailable` means that the outcome is unknown unless the detail states otherwise: send the
event again with the same `Idempotency-Key`.  `503 overloaded` means that the event was not queued.
"""


class IngestApp(FastAPI):
    """Answers the routes of the dialects without FastAPI's routing and middleware.

    That measured four times as fast as the same routes in FastAPI.  They are declared there only for
    `/openapi.json` and `/docs`.
    """

    def __init__(self, service: IngestService, dialects: Sequence[Dialect] = DIALECTS) -> None:
        super().__init__(
            title="Afterword ingest",
            version="1",
            description=DESCRIPTION,
            lifespan=lifespan(service),
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={HTTPException: _http_problem},
        )
        self._service = service
        self._router = Router(dialects)
        self._untaken = UntakenPaths()
        self._root = service.root.encode()
        self._probes = probe_app(service.health)
        self.mount(swagger.ASSETS, swagger.assets(), "assets")
        self.add_api_route("/docs", self._docs, methods=list(PROBE_METHODS), include_in_schema=False)

    @property
    def health(self) -> Health:
        """The checks of this process."""
        return self._service.health

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or handle a lifespan event of the server."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        match = self._find(scope)
        if match is not None:
            await self._service.handler.answer(match, scope, receive, send)
            return
        try:
            self._check(scope)
        except Rejection as rejection:
            await respond(send, *problem_response(rejection))
            return
        owner = self._router.owner(scope["raw_path"])
        if owner is not None:
            await self._untaken.refuse(owner, scope, send)
            return
        if scope["raw_path"] in PROBES:
            await self._probes(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _find(self, scope: Any) -> PathMatch | None:
        """Return the routes of the path, with or without the root path and a trailing slash.

        A root path such as `/feedback` may also be the start of a route: a path that matches a route as it
        is has precedence.
        """
        match = self._router.find(scope["raw_path"])
        if match is not None and (scope["method"] in match.endpoints or not self._root):
            return match
        raw_path = inner_path(self._root, scope["raw_path"])
        if raw_path != scope["raw_path"]:
            scope["raw_path"] = raw_path
            match = self._router.find(raw_path)
        if match is None:
            scope["raw_path"] = raw_path.removesuffix(b"/") or b"/"
            scope["path"] = scope["raw_path"].decode("latin-1")
        return match

    def _check(self, scope: Any) -> None:
        headers = dict(scope["headers"])
        try:
            self._service.guard.check_neighbour(headers.get(b"host"), headers.get(b"origin"), headers)
        except Forbidden as forbidden:
            raise Rejection(Code.FORBIDDEN, str(forbidden)) from None
        if scope["raw_path"] in PROBES and scope["method"] not in PROBE_METHODS:
            detail = f"this route accepts {', '.join(PROBE_METHODS)}"
            raise Rejection(Code.METHOD_NOT_ALLOWED, detail, headers=((b"allow", b"GET, HEAD"),))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, built at the first call."""
        if self.openapi_schema is None:
            document_routes(self, self._root.decode())
            self.openapi_schema = with_problem_schema(super().openapi())
        return self.openapi_schema

    async def _docs(self) -> HTMLResponse:
        return swagger.page("Afterword ingest", self._root.decode())


async def _http_problem(_request: Request, error: Exception) -> Response:
    """Answer FastAPI's own errors as problems."""
    code, detail = Code.NOT_FOUND, "there is no such route; /docs lists all routes"
    allow: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        code, detail = Code.METHOD_NOT_ALLOWED, "this route does not accept the method"
        allow = tuple(
            (name.lower().encode(), ", ".join(sorted(value.split(", "))).encode())
            for name, value in (error.headers or {}).items()
        )
    status, headers, body = problem_response(Rejection(code, detail, headers=allow))
    response = Response(body, status)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
    return response
