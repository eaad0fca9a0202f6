"""Handles the HTTP requests of all dialects: from an ASGI request to a submission, and back to an answer."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.limits import MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES
from services.ingest.body import BodyReader, ClientDisconnected, Headers, Receive, UploadReservation
from services.ingest.bulk import BulkEvents
from services.ingest.core.content import (
    ITEM_BYTES,
    BatchItem,
    BodyFormat,
    BrokenArray,
    body_format,
    is_array,
    items_of,
    split_broken_array,
    too_large,
)
from services.ingest.core.errors import Code, Rejection, rejection_body
from services.ingest.core.event import idempotency_key
from services.ingest.core.quota import RateLimiter
from services.ingest.core.router import Endpoint, PathMatch, redacted, request_id_of
from services.ingest.dialects.dialect import Reply
from services.ingest.dialects.native import read_event
from services.ingest.event_builder import Origin
from services.ingest.event_log import LogUnavailable, Overloaded, rejection_of
from services.ingest.metrics import REJECTED, request_count, request_seconds
from services.ingest.single import SingleEvents
from services.runtime.http.core.proxies import Proxies
from services.runtime.http.keys import Caller, Forbidden, Guard, Scope, Unauthenticated
from services.runtime.http.request_cycle import exchange_of

log = structlog.get_logger()

Send = Callable[[Any], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")

PREFLIGHT: RawHeaders = [
    (b"access-control-allow-headers", b"content-type, content-encoding, idempotency-key"),
    (b"access-control-max-age", b"86400"),
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
]
"""For routes under `/k/`: a web page may send feedback with a key that has no other scope."""

_ORIGIN = re.compile(rb"[!-~]{1,300}")


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
    proxies: Proxies

    async def answer(self, match: PathMatch, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        method, exchange = scope["method"], exchange_of(scope)
        endpoint = match.endpoints.get(method)
        extra = _cors(scope["headers"]) if match.path_key is not None else []
        try:
            if endpoint is None:
                status, headers, body = _other_method(method, match)
            else:
                arrived = None if exchange is None else exchange.arrived()
                reply = await self._reply(endpoint, match, dict(scope["headers"]), receive, arrived)
                status, headers, body = reply.status, [JSON], reply.body
            outcome = _OUTCOMES[status]
            if outcome == Code.UNKNOWN_REQUEST:  # answered in the dialect's format, but still a rejection
                REJECTED.labels(outcome).inc()
        except ClientDisconnected:
            request_count(endpoint.dialect.name if endpoint is not None else "none", "left").inc()
            return
        # Only a stopping server cancels this task, for requests that are not done in time.  The client still
        # gets an answer, so the cancellation ends here.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (every client gets an answer)
            rejection = self._rejection(error, scope)
            status, headers, body, outcome = *problem_response(rejection), rejection.code
        dialect = endpoint.dialect.name if endpoint is not None else "none"
        request_count(dialect, outcome).inc()
        request_seconds(dialect).observe(time.perf_counter() - started)
        if exchange is None:
            await respond(send, status, headers + extra, body)
        else:
            await exchange.answer(status, headers + extra, body)

    async def _reply(
        self, endpoint: Endpoint, match: PathMatch, headers: Headers, receive: Receive, arrived: bytes | None
    ) -> Reply:
        """Authenticate, then read the id, then the body, so that unauthorised requests cost little."""
        caller = self._caller(match, headers)
        request_id = "" if match.raw_id is None else request_id_of(match.raw_id)
        key = headers.get(b"idempotency-key")
        origin = Origin(caller, endpoint.dialect.name, None if key is None else idempotency_key(key))
        with self.bodies.reserve(caller.tenant) as reservation:
            if endpoint.route.read is None:
                is_text = match.path_key is not None
                return await self._events(
                    endpoint, origin, headers, receive, reservation, arrived, is_text=is_text
                )
            body = b""
            if endpoint.route.has_body:
                body_format(headers, lines=False, text=match.path_key is not None)
                body = await self.bodies.read(receive, headers, MAX_BODY_BYTES, reservation, arrived)
            submission = endpoint.route.read(request_id, body)
            self._spend(caller, 1)
            return await self.single_events.take(endpoint.route, origin, submission)

    async def _events(
        self,
        endpoint: Endpoint,
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
        if len(body) > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
        submission = read_event(body)
        self._spend(origin.caller, 1)
        return await self.single_events.take(endpoint.route, origin, submission)

    def _caller(self, match: PathMatch, headers: Headers) -> Caller:
        caller = self.guard.caller(
            authorization=headers.get(b"authorization"),
            x_api_key=headers.get(b"x-api-key"),
            path_key=match.path_key,
            host=headers.get(b"host"),
            origin=headers.get(b"origin"),
            headers=headers,
        )
        if not caller.may(Scope.WRITE):
            raise Rejection(Code.FORBIDDEN, "this key does not have the scope `write`")
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
            detail = f"tenant {caller.tenant} exceeds its rate limit or this key's; retry after {wait:.1f} s"
            raise Rejection(Code.RATE_LIMITED, detail, retry_after_seconds=int(wait) + 1)


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
}


def _cors(headers: RawHeaders) -> RawHeaders:
    """Return the headers that let a web page read the answer to a request with its key in the path.

    A beacon carries the page's cookies, which browsers allow only for a named origin; ingest ignores them.
    """
    origin = next((value for name, value in headers if name == b"origin"), b"")
    exposed = (b"access-control-expose-headers", b"retry-after")
    if not _ORIGIN.fullmatch(origin):
        return [(b"access-control-allow-origin", b"*"), exposed]
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"origin"),
        exposed,
    ]


def _other_method(method: str, match: PathMatch) -> tuple[int, RawHeaders, bytes]:
    allowed = ", ".join(match.endpoints).encode()
    if method == "OPTIONS" and match.path_key is not None:
        return 204, [(b"access-control-allow-methods", allowed), *PREFLIGHT], b""
    raise Rejection(
        Code.METHOD_NOT_ALLOWED, f"this route accepts {allowed.decode()}", headers=((b"allow", allowed),)
    )


def problem_response(rejection: Rejection) -> tuple[int, RawHeaders, bytes]:
    """Return status, headers and body of a rejection."""
    headers = [PROBLEM, *rejection.headers]
    if rejection.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % rejection.retry_after_seconds))
    return rejection.status, headers, rejection_body(rejection)


async def respond(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Send a complete response."""
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
