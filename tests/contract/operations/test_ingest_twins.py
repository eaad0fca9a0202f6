"""What client commands rely on, held against ingest itself and against the fake that stands for it.

Expectations are written out here, so that neither can pass by agreeing with itself.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime.http.keys import Scope
from tests.support.http.server import serving
from tests.support.ingest import fake_ingest
from tests.support.ingest.app import ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog

KEYED = {"Idempotency-Key": "run.0.1.2.0000abcd"}
LINES = {"Content-Type": "application/x-ndjson"}


class Twin:
    """A running ingest, real or not, and a client of it."""

    def __init__(
        self, client: httpx.AsyncClient, fake: fake_ingest.FakeIngest | None, log: FakeLog | None
    ) -> None:
        self.client, self._fake, self._log = client, fake, log

    def refuse_once(self) -> None:
        """Let the next request meet an ingest that cannot take anything."""
        if self._fake:
            self._fake.next.append("refuse")
        if self._log:
            self._log.problem = "the log is away"

    async def batch(self, *lines: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Post lines: objects, or text as it is."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        body = "".join(f"{text}\n" for text in texts)
        return await self.client.post("/v1/events", content=body, headers=LINES | KEYED | (headers or {}))


@pytest.fixture(params=["fake", "real"])
async def twin(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Twin]:
    """Both of them, one after the other, each with a key that may write."""
    key = new_key(tmp_path, Scope.WRITE)
    headers = {"Authorization": f"Bearer {key}"}
    if request.param == "fake":
        with fake_ingest.serving(fake_ingest.FakeIngest(key)) as fake:
            async with httpx.AsyncClient(base_url=fake.url, headers=headers) as client:
                yield Twin(client, fake, None)
        return
    log = FakeLog()
    async with (
        serving(ingest_over(log, tmp_path)) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
    ):
        yield Twin(client, None, log)


async def test_each_line_of_a_batch_is_answered_by_its_index(twin: Twin) -> None:
    """Good and bad, in order, whatever is wrong beside it."""
    answer = await twin.batch(
        {"request_id": "a", "data": {"rating": 1}},
        "nonsense",
        {"request_id": "b", "data": 7},
        {"data": {}},
        {"request_id": "neither"},
        [],
        {"request_id": "a", "request": {"model": "m"}},
        {"request_id": "a", "op": "retract"},
    )

    told = answer.json()
    assert answer.status_code == 207
    assert (told["accepted"], told["rejected"]) == (3, 5)
    assert [item["index"] for item in told["items"]] == list(range(8))
    assert [item["status"] for item in told["items"]] == [
        "accepted",
        *["rejected"] * 5,
        "accepted",
        "accepted",
    ]
    assert [item["error"]["code"] for item in told["items"] if "error" in item] == [
        "malformed_json",
        "invalid_feedback",
        "invalid_feedback",
        "invalid_feedback",
        "invalid_feedback",
    ]
    assert all(item["error"]["detail"] for item in told["items"] if "error" in item)
    assert told["items"][0]["request_id"] == "a"
    assert told["items"][0]["version"].isdigit()


async def test_the_same_batch_under_the_same_key_has_the_same_event_ids(twin: Twin) -> None:
    """A repeat is recognised line by line; another key or another place is another event."""
    event = {"request_id": "a", "data": {"rating": 1}}

    first, again = await twin.batch(event, event), await twin.batch(event, event)
    other = await twin.batch(event, event, headers={"Idempotency-Key": "other"})

    ids = [[item["event_id"] for item in answer.json()["items"]] for answer in (first, again, other)]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4


async def test_an_ingest_that_takes_nothing_has_a_retry_after(twin: Twin) -> None:
    """503 as a problem document, with Retry-After."""
    twin.refuse_once()

    answer = await twin.batch({"request_id": "a", "data": {}})

    assert answer.status_code == 503
    assert answer.headers["Retry-After"].isdigit()
    assert answer.json()["code"] in ("overloaded", "log_unavailable")
    assert answer.json()["detail"]


async def test_a_wrong_key_is_refused(twin: Twin) -> None:
    """401, whatever is sent."""
    answer = await twin.batch({"request_id": "a"}, headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"


async def test_an_unknown_route_is_not_found(twin: Twin) -> None:
    """As a problem document."""
    answer = await twin.client.post("/v1/nothing", json={})

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/feedback/demo-1", {"data": {"rating": 5, "tags": ["a"]}}, 202),
        ("POST", "/feedback/demo%2F1", {"data": {}}, 202),
        ("DELETE", "/feedback/demo-1", None, 202),
        ("PUT", "/v1/requests/demo-1", {"model": "m", "latency_ms": 1.5}, 202),
        (
            "POST",
            "/v1/feedback/",
            {"message_id": "demo-1", "rating": "positive", "comment": "", "tags": []},
            200,
        ),
    ],
)
async def test_every_door_of_the_demo_is_open(
    twin: Twin, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """Each dialect takes what the demo sends, with a key of its own."""
    answer = await twin.client.request(method, path, json=body, headers=KEYED)

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == "accepted"
    assert answer.json()["version"].isdigit()
