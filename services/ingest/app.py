"""The application: FastAPI for what it documents, the door for everything that is hot."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from services.ingest.body import Bodies
from services.ingest.bulk import Batches
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.quota import Rates
from services.ingest.core.router import Found, Paths
from services.ingest.dialects import DIALECTS
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import Intake
from services.ingest.event_log import Log
from services.ingest.handler import Door, problem, respond
from services.ingest.known_requests import ClickHouseLookups, Freshness, Knowledge, StoredKnowledge
from services.ingest.metrics import KEYS_DAMAGED
from services.ingest.publisher import Publisher
from services.ingest.routes import declare, with_problem
from services.ingest.settings import IngestSettings
from services.ingest.single import Singles
from services.runtime.http import swagger
from services.runtime.http.core.proxies import Proxies, inner_path
from services.runtime.http.health import Health, probe_app
from services.runtime.http.keys import Forbidden, Guard, KeyFile
from services.runtime.http.server import lifespan

STOP_SECONDS = 2.0
"""How long Kafka may take to answer for the last events when the process stops."""


def key_file(path: Path) -> KeyFile:
    """Return the key file of this process."""
    return KeyFile(path, time.monotonic)


@dataclass
class Service:
    """Ingest without its HTTP server.  A test that brings its own log starts and stops that itself."""

    door: Door
    health: Health
    guard: Guard
    root: str
    """The path prefix under which a proxy publishes it, or empty."""

    async def start(self) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""


@dataclass
class Connected(Service):
    """Ingest with its connections to Kafka and to ClickHouse."""

    publisher: Publisher
    lookups: ClickHouseLookups
    freshness: Freshness
    eager: bool
    """Lookups are wanted from the first vote on; else they are connected when one is needed."""

    async def start(self) -> None:
        """Begin to look for Kafka and ClickHouse.  Neither needs to be there yet."""
        self.publisher.start()
        if self.eager:
            self.lookups.connect_soon()

    async def stop(self) -> None:
        """Stop in the order of the flow: what was taken is written before the connections go."""
        await self.publisher.stop(STOP_SECONDS)
        await self.freshness.stop()
        await self.lookups.stop()


def build(settings: IngestSettings, keys: KeyFile) -> Connected:
    """Return the service that the settings describe."""
    publisher, lookups = Publisher(settings), ClickHouseLookups(settings)
    freshness = Freshness(settings, lookups, publisher.partition_of, lambda: publisher.generation)
    knowledge = StoredKnowledge(settings, lookups, freshness)
    parts = assemble(settings, publisher, knowledge, keys)
    eager = settings.ingest_lookup or settings.ingest_known_requests
    return Connected(parts.door, parts.health, parts.guard, parts.root, publisher, lookups, freshness, eager)


def assemble(settings: IngestSettings, log: Log, knowledge: Knowledge, keys: KeyFile) -> Service:
    """Return a service around a log that somebody else starts and stops."""
    guard = Guard(keys)
    intake = Intake(log)
    erase_log = EraseLog(settings)
    singles = Singles(
        intake,
        knowledge,
        erase_log,
        known_requests=settings.ingest_known_requests,
        find_repeats=settings.ingest_lookup,
    )
    door = Door(
        guard,
        Bodies(settings.ingest_max_upload_bytes, settings.ingest_body_seconds),
        Rates(settings.ingest_events_per_second),
        singles,
        Batches(intake, erase_log),
        Proxies(settings.ingest_trusted_proxies),
    )
    health = Health(
        liveness={"log": log.liveness},
        readiness={"log": log.readiness, "keys": keys.refusal},
        warnings={"keys": keys.warning},
    )
    KEYS_DAMAGED.set_function(lambda: bool(keys.refusal() or keys.warning()))
    return Service(door, health, guard, settings.ingest_root_path)


PROBES = (b"/livez", b"/readyz", b"/metrics")
READING = ("GET", "HEAD")

DESCRIPTION = """Takes feedback on LLM answers, and answers success only after Kafka has it.

The dialects of Requesty and GPTBoost are spoken at their own paths, and each under its own prefix;
`/v1/events` is Afterword's own.  Every error is `application/problem+json` with a stable `code`.
`503 log_unavailable` means that the outcome is unknown unless the detail says otherwise: send the
event again with the same `Idempotency-Key`.  `503 overloaded` means that it was never queued.
"""


class IngestApp(FastAPI):
    """Answers the routes of all dialects before the middleware stack is entered.

    Measured, that is four times as fast as the same routes through FastAPI; they are declared in FastAPI
    all the same, for `/openapi.json` and `/docs`.
    """

    def __init__(self, service: Service) -> None:
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
        self._paths = Paths(DIALECTS)
        self._root = service.root.encode()
        self._probes = probe_app(service.health)
        self.mount(swagger.ASSETS, swagger.assets(), "assets")
        self.add_api_route("/docs", self._docs, methods=list(READING), include_in_schema=False)

    @property
    def health(self) -> Health:
        """The checks of this process."""
        return self._service.health

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or take part in the server's start and stop."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        found = self._find(scope)
        if found is not None:
            await self._service.door.answer(found, scope, receive, send)
            return
        try:
            self._check(scope)
        except Rejection as rejection:
            await respond(send, *problem(rejection))
            return
        if scope["raw_path"] in PROBES:
            await self._probes(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _find(self, scope: Any) -> Found | None:
        """Return what the path leads to, without the prefix and the slash at its end that it may have.

        A prefix such as `/feedback` begins paths of ours as well: what a dialect takes as it is, is that.
        """
        found = self._paths.find(scope["raw_path"])
        if found is not None and (scope["method"] in found.places or not self._root):
            return found
        raw_path = inner_path(self._root, scope["raw_path"])
        if raw_path != scope["raw_path"]:
            scope["raw_path"] = raw_path
            found = self._paths.find(raw_path)
        if found is None:
            scope["raw_path"] = raw_path.removesuffix(b"/") or b"/"
            scope["path"] = scope["raw_path"].decode("latin-1")
        return found

    def _check(self, scope: Any) -> None:
        headers = dict(scope["headers"])
        try:
            self._service.guard.check_neighbour(headers.get(b"host"), headers.get(b"origin"), headers)
        except Forbidden as forbidden:
            raise Rejection(Code.FORBIDDEN, str(forbidden)) from None
        if scope["raw_path"] in PROBES and scope["method"] not in READING:
            detail = f"this route takes {', '.join(READING)}"
            raise Rejection(Code.METHOD_NOT_ALLOWED, detail, headers=((b"allow", b"GET, HEAD"),))

    def openapi(self) -> dict[str, Any]:
        """Return the document that describes what the door does; made when it is first asked for."""
        if self.openapi_schema is None:
            declare(self, self._root.decode())
            self.openapi_schema = with_problem(super().openapi())
        return self.openapi_schema

    async def _docs(self) -> HTMLResponse:
        return swagger.page("Afterword ingest", self._root.decode())


async def _http_problem(_request: Request, error: Exception) -> Response:
    """Give FastAPI's own refusals the shape that all others have."""
    code, detail = Code.NOT_FOUND, "there is no such route; /docs shows all of them"
    allow: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        code, detail = Code.METHOD_NOT_ALLOWED, "this route does not take the method"
        allow = tuple(
            (name.lower().encode(), ", ".join(sorted(value.split(", "))).encode())
            for name, value in (error.headers or {}).items()
        )
    status, headers, body = problem(Rejection(code, detail, headers=allow))
    response = Response(body, status)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
    return response
