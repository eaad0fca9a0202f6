"""How requests are counted, over applications of a few lines."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.requests import ClientDisconnect

from services.query.app import QueryApp
from services.query.middleware import STREAM, RequestOutcome, measured
from services.query.service import build, key_file
from services.query.settings import QuerySettings
from services.runtime import metrics

App = Callable[[Any, Any, Any], Awaitable[None]]


class Route:
    """A route as an application leaves it in the scope."""

    def __init__(self, path: str) -> None:
        self.path = path


def answering(route: str, *messages: dict[str, Any], error: Exception | None = None) -> App:
    """Return an application that sends these messages, and then fails if an error is given."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["route"] = Route(route)
        for message in messages:
            await send(message)
        if error is not None:
            raise error

    return app


def start(status: int, kind: bytes = b"application/json") -> dict[str, Any]:
    """Return the beginning of an answer."""
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}


def body(*, more: bool) -> dict[str, Any]:
    """Return a piece of an answer."""
    return {"type": "http.response.body", "body": b"x", "more_body": more}


WHOLE, PIECE = body(more=False), body(more=True)


async def into_the_void(_message: Any) -> None:
    """Send nowhere."""


def counted(route: str, outcome: RequestOutcome) -> float:
    """Return how many requests were counted."""
    labels = {"route": route, "outcome": outcome}
    return REGISTRY.get_sample_value("query_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("messages", "error", "outcome"),
    [
        ((start(200), PIECE, WHOLE), None, RequestOutcome.ANSWERED),
        ((start(304), WHOLE), None, RequestOutcome.ANSWERED),
        ((start(422), WHOLE), None, RequestOutcome.REFUSED),
        ((start(503), WHOLE), None, RequestOutcome.FAILED),
        ((), ValueError(), RequestOutcome.FAILED),
        ((start(200), PIECE), ValueError(), RequestOutcome.FAILED),
        ((start(200), PIECE), None, RequestOutcome.LEFT),
        ((start(200), PIECE), ClientDisconnect(), RequestOutcome.LEFT),
    ],
)
async def test_a_request_counts_once_by_what_became_of_it(
    messages: tuple[dict[str, Any], ...], error: Exception | None, outcome: RequestOutcome
) -> None:
    """An answer that broke off is no success, whatever its status promised."""
    before = {one: counted("/test", one) for one in RequestOutcome}
    with nullcontext() if error is None else pytest.raises(type(error)):
        await measured(answering("/test", *messages, error=error), {}, None, into_the_void)
    after = {one: counted("/test", one) for one in RequestOutcome}

    assert {one: after[one] - before[one] for one in RequestOutcome if after[one] != before[one]} == {
        outcome: 1.0
    }


async def test_a_live_page_counts_while_it_is_open_and_its_time_shows_nothing() -> None:
    """A stream that lasts for hours is no slow answer."""
    during: list[float | None] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["route"] = Route("/test-live")
        await send(start(200, STREAM + b"; charset=utf-8"))
        during.append(REGISTRY.get_sample_value("query_live_pages"))

    before = REGISTRY.get_sample_value("query_live_pages")
    await measured(app, {}, None, into_the_void)

    assert before is not None
    assert during == [before + 1]
    assert REGISTRY.get_sample_value("query_live_pages") == before
    assert REGISTRY.get_sample_value("query_request_seconds_count", {"route": "/test-live"}) is None


async def test_no_label_holds_what_a_caller_sent(tmp_path: Path) -> None:
    """A route is counted by its template, and all that is no route as one."""
    service = build(QuerySettings(clickhouse_url="http://127.0.0.1:1"), key_file(tmp_path / "keys.toml"))
    transport = httpx.ASGITransport(QueryApp(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        lost = await client.get("/there-is-nothing-of-that-name")
        before = counted("/v1/feedback", RequestOutcome.FAILED)
        failed = await client.get("/v1/feedback?user_id=somebody-in-particular")

    page = metrics.page().decode()
    assert (lost.status_code, failed.status_code) == (404, 503)
    assert counted("/v1/feedback", RequestOutcome.FAILED) == before + 1
    assert REGISTRY.get_sample_value("query_store_ready") == 0
    assert counted("none", RequestOutcome.REFUSED) >= 1
    assert 'query_problems_total{code="store_unavailable"}' in page
    assert "there-is-nothing" not in page
    assert "somebody-in-particular" not in page
