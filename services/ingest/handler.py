"""The edge of HTTP: from an ASGI request to the part that takes it, and back to an answer."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.limits import MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES
from services.ingest.body import Bodies, ClientGone, Headers, Hold, Receive
from services.ingest.bulk import Batches
from services.ingest.core.content import (
    ITEM_BYTES,
    BrokenArray,
    Item,
    Kind,
    body_kind,
    is_array,
    items_of,
    taken_apart,
    too_large,
)
from services.ingest.core.errors import Code, Rejection, problem_of
from services.ingest.core.event import idempotency_key
from services.ingest.core.quota import Rates
from services.ingest.core.router import Found, Place, redacted, request_id_of
from services.ingest.dialects.dialect import Reply
from services.ingest.dialects.native import read_event
from services.ingest.event_builder import Origin
from services.ingest.event_log import LogUnavailable, Overloaded, rejection_of
from services.ingest.metrics import REJECTED, request_count, request_seconds
from services.ingest.single import Singles
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
"""For routes under `/k/`: a page may send feedback with a key that can do nothing else."""

_ORIGIN = re.compile(rb"[!-~]{1,300}")


STOPPING = "this server is stopping, and Kafka has not answered yet; the event may still be written, once"


@dataclass(frozen=True)
class Door:
    """Answers every request of every dialect.

    It runs before any middleware and before FastAPI's own handling, so nothing else catches what it does not.
    """

    guard: Guard
    bodies: Bodies
    rates: Rates
    singles: Singles
    batches: Batches
    proxies: Proxies

    async def answer(self, found: Found, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        method, exchange = scope["method"], exchange_of(scope)
        place = found.places.get(method)
        extra = _cors(scope["headers"]) if found.path_key is not None else []
        try:
            if place is None:
                status, headers, body = _other_method(method, found)
            else:
                arrived = None if exchange is None else exchange.arrived()
                reply = await self._reply(place, found, dict(scope["headers"]), receive, arrived)
                status, headers, body = reply.status, [JSON], reply.body
            outcome = _OUTCOMES[status]
            if outcome == Code.UNKNOWN_REQUEST:  # in the dialect's own shape, and a rejection all the same
                REJECTED.labels(outcome).inc()
        except ClientGone:
            request_count(place.dialect.name if place is not None else "none", "left").inc()
            return
        # A server that stops cancels what is not done in time, and nothing else does: its last words are
        # an answer, so the cancellation ends here.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (a caller is owed an answer)
            rejection = self._rejection(error, scope)
            status, headers, body, outcome = *problem(rejection), rejection.code
        dialect = place.dialect.name if place is not None else "none"
        request_count(dialect, outcome).inc()
        request_seconds(dialect).observe(time.perf_counter() - started)
        if exchange is None:
            await respond(send, status, headers + extra, body)
        else:
            await exchange.answer(status, headers + extra, body)

    async def _reply(
        self, place: Place, found: Found, headers: Headers, receive: Receive, arrived: bytes | None
    ) -> Reply:
        """Do what was asked: who, which request, what, in this order, so that strangers cost little."""
        caller = self._caller(found, headers)
        request_id = "" if found.raw_id is None else request_id_of(found.raw_id)
        key = headers.get(b"idempotency-key")
        origin = Origin(caller, place.dialect.name, None if key is None else idempotency_key(key))
        with self.bodies.hold(caller.tenant) as hold:
            if place.route.read is None:
                is_text = found.path_key is not None
                return await self._events(place, origin, headers, receive, hold, arrived, is_text=is_text)
            body = b""
            if place.route.has_body:
                body_kind(headers, lines=False, text=found.path_key is not None)
                body = await self.bodies.read(receive, headers, MAX_BODY_BYTES, hold, arrived)
            submission = place.route.read(request_id, body)
            self._spend(caller, 1)
            return await self.singles.take(place.route, origin, submission)

    async def _events(
        self,
        place: Place,
        origin: Origin,
        headers: Headers,
        receive: Receive,
        hold: Hold,
        arrived: bytes | None,
        *,
        is_text: bool,
    ) -> Reply:
        kind = body_kind(headers, lines=True, text=is_text)
        body = await self.bodies.read(receive, headers, MAX_BATCH_BODY_BYTES, hold, arrived)
        if kind is Kind.LINES or is_array(body):
            items = await _items(kind, body)
            del body
            hold.grow(len(items) * ITEM_BYTES)
            self._spend(origin.caller, len(items))
            return await self.batches.take(origin, items)
        if len(body) > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
        submission = read_event(body)
        self._spend(origin.caller, 1)
        return await self.singles.take(place.route, origin, submission)

    def _caller(self, found: Found, headers: Headers) -> Caller:
        caller = self.guard.caller(
            authorization=headers.get(b"authorization"),
            x_api_key=headers.get(b"x-api-key"),
            path_key=found.path_key,
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
        wait = self.rates.take(
            caller.tenant,
            count,
            time.monotonic(),
            tenant_rate=caller.tenant_rate,
            key_id=caller.key_id,
            key_rate=caller.key_rate,
        )
        if wait:
            detail = f"tenant {caller.tenant} sends more events than it or this key may; wait {wait:.1f} s"
            raise Rejection(Code.RATE_LIMITED, detail, retry_after_seconds=int(wait) + 1)


async def _items(kind: Kind, body: bytes) -> list[Item]:
    try:
        return items_of(kind, body)
    except BrokenArray as broken:
        return await asyncio.to_thread(taken_apart, body, broken)


_OUTCOMES = {
    200: "accepted",
    202: "accepted",
    204: "preflight",
    207: "batch",
    208: "repeated",
    404: Code.UNKNOWN_REQUEST,
}


def _cors(headers: RawHeaders) -> RawHeaders:
    """Return what lets a page read the answer to a key in the path.

    A beacon goes with the page's cookies, which browsers allow to a named origin alone; none counts here.
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


def _other_method(method: str, found: Found) -> tuple[int, RawHeaders, bytes]:
    allowed = ", ".join(found.places).encode()
    if method == "OPTIONS" and found.path_key is not None:
        return 204, [(b"access-control-allow-methods", allowed), *PREFLIGHT], b""
    raise Rejection(
        Code.METHOD_NOT_ALLOWED, f"this route takes {allowed.decode()}", headers=((b"allow", allowed),)
    )


def problem(rejection: Rejection) -> tuple[int, RawHeaders, bytes]:
    """Return the answer that a rejection is."""
    headers = [PROBLEM, *rejection.headers]
    if rejection.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % rejection.retry_after_seconds))
    return rejection.status, headers, problem_of(rejection)


async def respond(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Send a whole answer."""
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
