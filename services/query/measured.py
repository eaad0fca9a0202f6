"""Counts and times the requests of an application, by route."""

import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

from starlette.requests import ClientDisconnect

from services.query.metrics import LIVE, REQUEST_SECONDS, REQUESTS

App = Callable[[Any, Any, Any], Awaitable[None]]

STREAM = b"text/event-stream"

BROKEN = "afterword.broken"
"""What a route sets in the scope when it fails after its answer has begun, and leaves that without an end."""


class Outcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "left"


async def measured(app: App, scope: Any, receive: Any, send: Any) -> None:
    """Let the application answer a request, and count it."""
    answer = _Answer(send)
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
    """Return the route that an answered request took, its parameters by name; `none` when there was none."""
    route = scope.get("route")
    return "none" if route is None else str(route.path)


class _Answer:
    """Passes an answer on, and looks at it."""

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
    def outcome(self) -> Outcome:
        """What became of the request, once it is over."""
        if self.has_left and self._status is None:
            return Outcome.LEFT
        if self.is_broken or self._status is None or self._status >= 500:
            return Outcome.FAILED
        if not self._whole:
            return Outcome.LEFT
        return Outcome.REFUSED if self._status >= 400 else Outcome.ANSWERED
