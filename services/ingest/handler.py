"""Handles the HTTP requests of all dialects: from an ASGI request to a submission, and back to an answer."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from schemas.limits import MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES
from services.ingest.body import (
    INLINE_BYTES,
    BodyReader,
    ClientDisconnected,
    Headers,
    Receive,
    UploadReservation,
)
from services.ingest.bulk import BulkEvents
from services.ingest.core.content import (
    ITEM_BYTES,
    MAX_ITEMS,
    BatchItem,
    BodyFormat,
    BrokenArray,
    body_format,
    is_array,
    items_of,
    media_type_of,
    split_broken_array,
    too_large,
)
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.event import idempotency_key
from services.ingest.core.router import Endpoint, PathMatch, chosen, redacted, request_id_of
from services.ingest.core.validation import decoded
from services.ingest.dialects.dialect import (
    JSON_TYPE,
    Dialect,
    DialectCall,
    EventsRoute,
    FixedRoute,
    Item,
    ItemsRoute,
    LookupRoute,
    Reply,
    Route,
    SingleRoute,
    Submission,
)
from services.ingest.event_builder import Origin
from services.ingest.event_log import LogUnavailable, Overloaded, rejection_of
from services.ingest.items import ItemEvents
from services.ingest.metrics import REJECTED, request_count, request_seconds
from services.ingest.responses import (
    CONTENT_TYPES,
    Send,
    cors,
    other_method,
    problem_response,
    respond,
)
from services.ingest.single import SingleEvents
from services.ingest.stored_events import StoredEvents
from services.runtime.core.quota import RateLimiter
from services.runtime.http.core.proxies import Proxies
from services.runtime.http.keys import Caller, Forbidden, Guard, Scope, Unauthenticated
from services.runtime.http.request_cycle import exchange_of

log = structlog.get_logger()

ANONYMOUS = Caller("", frozenset({Scope.WRITE}), tenant_rate=20.0)
"""The caller of a route whose id is the secret; all share one rate, since each call reads ClickHouse."""

NONCE_BYTES = 32

TAKER = "afterword.dialect"
"""Where a scope has the dialect that a body is of, if several have the path."""

STOPPING = "this server is stopping, and Kafka has not answered yet; the event may still be written, once"


@dataclass(frozen=True)
class Handler:
    """Answers every request of every dialect.

    It runs outside FastAPI and its middleware, so it must catch every exception itself.
    """

    guard: Guard
    bodies: BodyReader
    rate_limiter: RateLimiter
    single_events: SingleEvents
    bulk_events: BulkEvents
    item_events: ItemEvents
    stored_events: StoredEvents
    proxies: Proxies
    root: str
    """The path prefix under which a proxy publishes ingest, or empty."""
    clock: Callable[[], float] = time.time

    async def answer(self, match: PathMatch, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        method, exchange = scope["method"], exchange_of(scope)
        endpoint = match.endpoints.get(method)
        is_open = _is_open(match, endpoint)
        extra = cors(scope["headers"]) if is_open else []
        try:
            if endpoint is None:
                status, headers, body = other_method(method, match, is_open=is_open)
            else:
                arrived = None if exchange is None else exchange.arrived()
                reply = await self._reply(endpoint, match, scope, receive, arrived)
                status, headers, body = reply.status, [CONTENT_TYPES[reply.content_type]], reply.body
            outcome = _OUTCOMES.get(status, "accepted")
            if isinstance(outcome, Code):  # answered in the dialect's format, but still a rejection
                REJECTED.labels(outcome).inc()
        except ClientDisconnected:
            request_count(endpoint.dialect.name if endpoint is not None else "none", "left").inc()
            return
        # Only a stopping server cancels this task, for requests that are not done in time.  The client still
        # gets an answer, so the cancellation ends here.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (every client gets an answer)
            rejection = self._rejection(error, scope)
            status, headers, body = problem_response(rejection, _problem(endpoint, scope))
            outcome = rejection.code
        taker = _taker(endpoint, scope)
        dialect = "none" if taker is None else taker.name
        request_count(dialect, outcome).inc()
        request_seconds(dialect).observe(time.perf_counter() - started)
        if exchange is None:
            await respond(send, status, headers + extra, body)
        else:
            await exchange.answer(status, headers + extra, body)

    async def _reply(
        self, endpoint: Endpoint, match: PathMatch, scope: Any, receive: Receive, arrived: bytes | None
    ) -> Reply:
        """Authenticate, then read the id, then the body, so that unauthorised requests cost little."""
        route = endpoint.route
        if isinstance(route, FixedRoute) and not route.needs_key:
            return route.reply
        headers = dict(scope["headers"])
        caller = self._caller(match, headers, route)
        if isinstance(route, FixedRoute):
            return route.reply
        request_id = "" if match.raw_id is None else request_id_of(match.raw_id)
        key = headers.get(b"idempotency-key")
        origin = Origin(caller, endpoint.dialect.name, None if key is None else idempotency_key(key))
        with self.bodies.reserve(caller.tenant) as reservation:
            if type(route) is SingleRoute and not endpoint.others:
                body = b""
                if route.has_body:
                    body_format(headers, lines=False, text=match.path_key is not None)
                    body = await self.bodies.read(receive, headers, MAX_BODY_BYTES, reservation, arrived)
                else:
                    _refuse_foreign(route, headers)
                return await self._single(route, origin, request_id, body)
            if isinstance(route, EventsRoute):
                is_text = match.path_key is not None
                return await self._events(
                    route, origin, headers, receive, reservation, arrived, is_text=is_text
                )
            media_type, body = "", b""
            if route.has_body:
                accepted = route.media_types if isinstance(route, ItemsRoute) else (JSON_TYPE,)
                media_type = media_type_of(headers, accepted, text=_is_open(match, endpoint))
                limit = MAX_BODY_BYTES if isinstance(route, LookupRoute) else MAX_BATCH_BODY_BYTES
                body = await self.bodies.read(receive, headers, limit, reservation, arrived)
            if endpoint.others:
                if isinstance(route, SingleRoute):
                    submission = _valid_for_first(route, request_id, body)
                    if submission is not None:
                        return await self._take(route, origin, submission)
                endpoint = chosen(endpoint, await _decoded(body))
                scope[TAKER] = endpoint.dialect
                origin = origin._replace(source=endpoint.dialect.name)
            call = self._call(endpoint, scope, headers, request_id, body, media_type)
            return await self._answer(endpoint.route, origin, call, reservation)

    async def _single(self, route: SingleRoute, origin: Origin, request_id: str, body: bytes) -> Reply:
        if len(body) > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
        return await self._take(route, origin, route.read(request_id, body))

    async def _take(self, route: SingleRoute, origin: Origin, submission: Submission) -> Reply:
        self._spend(origin.caller, 1)
        return await self.single_events.take(route, origin, submission)

    async def _answer(
        self, route: Route, origin: Origin, call: DialectCall, reservation: UploadReservation
    ) -> Reply:
        if isinstance(route, SingleRoute):
            return await self._single(route, origin, call.request_id, call.body)
        if isinstance(route, LookupRoute):
            return await self._lookup(route, origin, call)
        assert isinstance(route, ItemsRoute)  # noqa: S101 (the only kind left)
        if len(call.body) > INLINE_BYTES:
            items = await asyncio.to_thread(route.read_items, call)
        else:
            items = route.read_items(call)
        if len(items) > MAX_ITEMS:
            raise Rejection(Code.TOO_LARGE, f"a request has at most {MAX_ITEMS} items; send it in parts")
        reservation.grow(len(items) * ITEM_BYTES)
        self._spend(origin.caller, len(items))
        return route.answer_items(call, await self.item_events.publish(origin, items))

    async def _lookup(self, route: LookupRoute, origin: Origin, call: DialectCall) -> Reply:
        """Read stored events, and publish what the route decides, on behalf of their tenant."""
        self._spend(origin.caller, 1)
        tenant = None if route.is_public else origin.caller.tenant
        found = await self.stored_events.read(tenant, route.query(call))
        decision = route.decide(call, found)
        if decision.submissions:
            if route.is_public:
                origin = origin._replace(caller=replace(origin.caller, tenant=decision.tenant))
            items = [Item("", submission) for submission in decision.submissions]
            for outcome in await self.item_events.publish(origin, items):
                if isinstance(outcome.result, Rejection):
                    raise outcome.result
        return decision.reply

    def _call(
        self,
        endpoint: Endpoint,
        scope: Any,
        headers: Headers,
        request_id: str,
        body: bytes,
        media_type: str,
    ) -> DialectCall:
        return DialectCall(
            request_id,
            body,
            media_type,
            scope["query_string"].decode("latin-1"),
            f"{self._public_url(scope)}/{endpoint.dialect.name}",
            datetime.fromtimestamp(self.clock(), UTC),
            os.urandom(NONCE_BYTES),
            headers,
        )

    def _public_url(self, scope: Any) -> str:
        visitor = self.proxies.seen((scope.get("client") or ("",))[0], scope["headers"])
        named = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return f"{visitor.scheme}://{visitor.host or named.decode('latin-1')}{self.root}"

    async def _events(
        self,
        route: EventsRoute,
        origin: Origin,
        headers: Headers,
        receive: Receive,
        reservation: UploadReservation,
        arrived: bytes | None,
        *,
        is_text: bool,
    ) -> Reply:
        format_ = body_format(headers, lines=True, text=is_text)
        body = await self.bodies.read(receive, headers, MAX_BATCH_BODY_BYTES, reservation, arrived)
        if format_ is BodyFormat.LINES or is_array(body):
            items = await _items(format_, body)
            del body
            reservation.grow(len(items) * ITEM_BYTES)
            self._spend(origin.caller, len(items))
            return await self.bulk_events.take(origin, items)
        return await self._single(route, origin, "", body)

    def _caller(self, match: PathMatch, headers: Headers, route: Route) -> Caller:
        if isinstance(route, LookupRoute) and route.is_public:
            return ANONYMOUS
        # A gateway's own header counts first: its clients send the model provider's key in Authorization.
        gateway_key = headers.get(b"x-portkey-api-key")
        authorization = headers.get(b"helicone-auth") or headers.get(b"authorization")
        caller = self.guard.caller(
            authorization=None if gateway_key else authorization,
            x_api_key=gateway_key or headers.get(b"x-api-key"),
            path_key=match.path_key,
            host=headers.get(b"host"),
            origin=headers.get(b"origin"),
            headers=headers,
        )
        scope = Scope.READ if isinstance(route, LookupRoute) and not route.changes else Scope.WRITE
        if not caller.may(scope):
            raise Rejection(Code.FORBIDDEN, f"this key does not have the scope `{scope}`")
        return caller

    def _rejection(self, error: BaseException, scope: Any) -> Rejection:
        if isinstance(error, LogUnavailable | Overloaded):
            rejection = rejection_of(error)
        elif isinstance(error, Unauthenticated):
            challenge = ((b"www-authenticate", b"Bearer"),)
            rejection = Rejection(Code.UNAUTHENTICATED, str(error), headers=challenge)
        elif isinstance(error, Forbidden):
            rejection = Rejection(Code.FORBIDDEN, str(error))
        elif isinstance(error, Rejection):
            rejection = error
        elif isinstance(error, asyncio.CancelledError):
            rejection = rejection_of(LogUnavailable(STOPPING, unknown=True))
        else:
            self._log(error, scope)
            rejection = Rejection(
                Code.INTERNAL_ERROR, "the request could not be handled; it may have been accepted"
            )
        REJECTED.labels(rejection.code).inc()
        return rejection

    def _log(self, error: BaseException, scope: Any) -> None:
        visitor = self.proxies.seen((scope.get("client") or ("",))[0], scope["headers"])
        path = redacted(scope["raw_path"])
        log.error("request failed", method=scope["method"], path=path, client=visitor.address, exc_info=error)

    def _spend(self, caller: Caller, count: int) -> None:
        wait = self.rate_limiter.take(
            caller.tenant,
            count,
            time.monotonic(),
            tenant_rate=caller.tenant_rate,
            key_id=caller.key_id,
            key_rate=caller.key_rate,
        )
        if wait:
            whose = f"tenant {caller.tenant} exceeds its rate limit or this key's"
            if not caller.tenant:
                whose = "calls without a key exceed their rate limit"
            detail = f"{whose}; retry after {wait:.1f} s"
            raise Rejection(Code.RATE_LIMITED, detail, retry_after_seconds=int(wait) + 1)


def _problem(endpoint: Endpoint | None, scope: Any) -> Callable[[Rejection], Reply] | None:
    """Return what makes the answer to a rejected request, None for that of all routes."""
    if endpoint is not None and (problem := endpoint.route.problem) is not None:
        content_type = dict(scope["headers"]).get(b"content-type", b"")
        return lambda rejection: problem(rejection, content_type)
    taker = _taker(endpoint, scope)
    return None if taker is None else taker.problem


def _taker(endpoint: Endpoint | None, scope: Any) -> Dialect | None:
    """Return the dialect whose request this is: on a shared path the first, until a body is another's."""
    if endpoint is None:
        return None
    dialect: Dialect = scope.get(TAKER, endpoint.dialect) if endpoint.others else endpoint.dialect
    return dialect


def _valid_for_first(route: SingleRoute, request_id: str, body: bytes) -> Submission | None:
    """Return the submission of a body if the first dialect of a shared path takes it as it is, else None."""
    if len(body) > MAX_BODY_BYTES:
        return None
    try:
        return route.read(request_id, body)
    except Rejection:
        return None


async def _decoded(body: bytes) -> Any:
    return decoded(body) if len(body) <= INLINE_BYTES else await asyncio.to_thread(decoded, body)


def _refuse_foreign(route: SingleRoute, headers: Headers) -> None:
    if headers.get(b"user-agent", b"").startswith(route.foreign_agents):
        detail = "this call means something else here than to its client; see docs/clients.md"
        raise Rejection(Code.METHOD_NOT_ALLOWED, detail)


def _is_open(match: PathMatch, endpoint: Endpoint | None) -> bool:
    """Return whether web pages of any origin may call: the path has a key, or its id is the secret."""
    if match.path_key is not None:
        return True
    if endpoint is not None:
        return isinstance(endpoint.route, LookupRoute) and endpoint.route.is_public
    return any(_is_open(match, one) for one in match.endpoints.values())


async def _items(format_: BodyFormat, body: bytes) -> list[BatchItem]:
    try:
        return items_of(format_, body)
    except BrokenArray as broken:
        return await asyncio.to_thread(split_broken_array, body, broken)


_OUTCOMES = {
    200: "accepted",
    202: "accepted",
    204: "preflight",
    207: "batch",
    208: "repeated",
    404: Code.UNKNOWN_REQUEST,
    410: Code.EXPIRED,
}
