"""Builds the responses that no dialect decides: headers for browsers, problems, paths without a route."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from services.ingest.core.errors import Code, Rejection, rejection_body
from services.ingest.core.router import PathMatch, redacted
from services.ingest.dialects.dialect import Dialect, Reply
from services.ingest.metrics import REJECTED, UNTAKEN

log = structlog.get_logger()

Send = Callable[[Any], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

PROBLEM = (b"content-type", b"application/problem+json")

CONTENT_TYPES = {
    name: (b"content-type", name)
    for name in (b"application/json", b"application/x-protobuf", b"text/html; charset=utf-8")
}

LANGFUSE_HEADERS = (b"public-key", b"sdk-name", b"sdk-variant", b"sdk-version", b"sdk-integration")
"""Headers of its own that Langfuse's browser client sends."""

PREFLIGHT: RawHeaders = [
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, idempotency-key, %b"
        % b", ".join(b"x-langfuse-%b" % name for name in LANGFUSE_HEADERS),
    ),
    (b"access-control-max-age", b"86400"),
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
]
"""For routes that need no key in a header, which a web page may call."""

_ORIGIN = re.compile(rb"[!-~]{1,300}")


def cors(headers: RawHeaders) -> RawHeaders:
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


def other_method(method: str, match: PathMatch, *, is_open: bool) -> tuple[int, RawHeaders, bytes]:
    """Return the answer to a CORS preflight; raise Rejection for any other method that the path lacks.

    `is_open`: web pages of any origin may call the path.
    """
    allowed = ", ".join(match.endpoints).encode()
    if method == "OPTIONS" and is_open:
        return 204, [(b"access-control-allow-methods", allowed), *PREFLIGHT], b""
    raise Rejection(
        Code.METHOD_NOT_ALLOWED, f"this route accepts {allowed.decode()}", headers=((b"allow", allowed),)
    )


def problem_response(
    rejection: Rejection, problem: Callable[[Rejection], Reply] | None = None
) -> tuple[int, RawHeaders, bytes]:
    """Return status, headers and body of a rejection, in a dialect's own form if it has one."""
    if problem is None:
        status, type_, body = rejection.status, PROBLEM, rejection_body(rejection)
    else:
        reply = problem(rejection)
        status, type_, body = reply.status, CONTENT_TYPES[reply.content_type], reply.body
    headers = [type_, *rejection.headers]
    if rejection.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % rejection.retry_after_seconds))
    return status, headers, body


async def respond(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Send a complete response."""
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


LOG_SECONDS = 60.0


class UntakenPaths:
    """Answers requests for paths that clients of a dialect use and no route has: counted, and logged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[str, float] = {}

    async def refuse(self, dialect: Dialect, scope: Any, send: Send) -> None:
        """Answer 404 in the dialect's form; count the request, and log one a minute."""
        UNTAKEN.labels(dialect.name).inc()
        REJECTED.labels(Code.NOT_FOUND).inc()
        path, now = redacted(scope["raw_path"]), self._clock()
        if now - self._logged.get(dialect.name, -LOG_SECONDS) >= LOG_SECONDS:
            self._logged[dialect.name] = now
            hint = "what this call carries is not stored; docs/clients.md lists the calls that are"
            log.warning("path not taken", dialect=dialect.name, method=scope["method"], path=path, hint=hint)
        detail = f"{scope['method']} {path} is not taken from clients of {dialect.name}; /docs lists what is"
        await respond(send, *problem_response(Rejection(Code.NOT_FOUND, detail), dialect.problem))
