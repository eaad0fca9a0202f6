"""ASGI middleware: ends the work for clients that disconnect, and counts and times requests by route."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

from starlette.requests import ClientDisconnect

from services.query.metrics import LIVE, REQUEST_SECONDS, REQUESTS

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

READING = ("GET", "HEAD")

BODY_SECONDS = 30.0
"""Time limit for receiving a body."""


async def attended(
    app: AsgiApp,
    scope: Any,
    receive: Any,
    send: Any,
    *,
    is_head: bool = False,
    body_seconds: float = BODY_SECONDS,
) -> None:
    """Call the application; raise ClientDisconnect when the client disconnects before the last byte.

    The application is cancelled then, which also cancels its query in ClickHouse.  This holds for GET and
    HEAD only; their bodies are discarded.

    A response to HEAD is complete with its headers: a stream or a file ends before its second piece is made,
    as if the client had disconnected.

    Reading a body that takes longer than `body_seconds` to arrive raises TimeoutError.
    """
    if scope["method"] not in READING:
        await app(scope, _timely(receive, body_seconds), send)
        return
    visit = _Visit(receive, send, asyncio.current_task(), is_head=is_head)
    watching = asyncio.create_task(visit.watch(), name="departure")
    try:
        await app(scope, visit.receive, visit.send)
        if visit.is_over:
            await asyncio.sleep(0)  # lets a pending cancellation arrive
    except asyncio.CancelledError:
        if not visit.is_over:
            raise
        if visit.is_answered:
            return
        raise ClientDisconnect from None
    finally:
        watching.cancel()


def _timely(receive: Any, seconds: float) -> Any:
    """Return a `receive` with a time limit for the body, but not for what is awaited after it."""
    ends: float | None = asyncio.get_running_loop().time() + seconds

    async def received() -> Any:
        nonlocal ends
        async with asyncio.timeout_at(ends):
            message = await receive()
        if not message.get("more_body", False):
            ends = None
        return message

    return received


class _Visit:
    """Wraps `receive` and `send` of a request, and notices at once when the client disconnects."""

    def __init__(
        self, receive: Any, send: Any, answering: "asyncio.Task[Any] | None", *, is_head: bool
    ) -> None:
        self._receive, self._send, self._answering = receive, send, answering
        self._is_head = is_head
        self._asked = False
        self._gone = asyncio.Event()
        self.is_answered = False
        self.is_over = False
        """The client disconnected, or has the whole response: the application was cancelled."""

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.is_answered:
            return
        if message["type"] == "http.response.body":
            has_more = message.get("more_body", False)
            self.is_answered = self._is_head or not has_more
            if self._is_head and has_more:
                await self._send({"type": "http.response.body", "body": b""})
                self._end()
                return
        await self._send(message)

    async def watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.is_answered:
            self._gone.set()
        else:
            self._end()

    def _end(self) -> None:
        self._gone.set()
        if self._answering is not None and not self.is_over:
            self.is_over = True
            self._answering.cancel()


STREAM = b"text/event-stream"

BROKEN = "afterword.broken"
"""Key of the scope that a route sets when it fails after its response has begun, and leaves it incomplete."""


class RequestOutcome(StrEnum):
    """The outcome of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "left"


async def measured(app: AsgiApp, scope: Any, receive: Any, send: Any) -> None:
    """Call the application, and count and time the request by route and outcome."""
    answer = _MeasuredAnswer(send)
    began = time.perf_counter()
    try:
        await app(scope, receive, answer.send)
    except Exception as error:
        answer.has_left = isinstance(error, ClientDisconnect)
        answer.is_broken = not answer.has_left
        raise
    finally:
        answer.is_broken |= bool(scope.get(BROKEN))
        route = route_of(scope)
        REQUESTS.labels(route, answer.outcome).inc()
        if answer.is_live:
            LIVE.dec()
        else:
            REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)


def route_of(scope: Any) -> str:
    """Return the route template of a handled request, or `none` if no route matched."""
    route = scope.get("route")
    return "none" if route is None else str(route.path)


class _MeasuredAnswer:
    """Wraps `send`, and records the status and whether the response was complete."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._status: int | None = None
        self._whole = False
        self.is_live = False
        self.is_broken = False
        self.has_left = False

    async def send(self, message: Any) -> None:
        """Pass a message on to the server."""
        if message["type"] == "http.response.start":
            self._begins(message)
        await self._send(message)
        if message["type"] == "http.response.body":
            self._whole = not message.get("more_body", False)

    def _begins(self, message: Any) -> None:
        self._status = message["status"]
        self.is_live = dict(message["headers"]).get(b"content-type", b"").startswith(STREAM)
        if self.is_live:
            LIVE.inc()

    @property
    def outcome(self) -> RequestOutcome:
        """The outcome of the request, once it is over."""
        if self.has_left and self._status is None:
            return RequestOutcome.LEFT
        if self.is_broken or self._status is None or self._status >= 500:
            return RequestOutcome.FAILED
        if not self._whole:
            return RequestOutcome.LEFT
        return RequestOutcome.REFUSED if self._status >= 400 else RequestOutcome.ANSWERED
