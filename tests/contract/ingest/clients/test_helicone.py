"""What is sent to Helicone: by hand, as its documentation has it, and by its manual logger, as recorded."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import exchanges
from tests.support.ingest.fake_log import FakeLog

(LOG,) = exchanges("helicone")
REQUEST = "018f0000-0000-4000-8000-000000000001"
SUCCESS = {"data": None, "error": None}


@pytest.mark.parametrize("prefix", ["", "/helicone"])
@pytest.mark.parametrize(
    ("method", "path", "body", "content"),
    [
        ("POST", f"/v1/request/{REQUEST}/feedback", {"rating": True}, {"data": {"rating": True}}),
        ("POST", "/v1/feedback", {"helicone-id": REQUEST, "rating": False}, {"data": {"rating": False}}),
        (
            "POST",
            f"/v1/request/{REQUEST}/score",
            {"scores": {"accuracy": 4, "grounded": True, "comment": 1}},
            {"data": {"accuracy": 4, "grounded": True, "comment_score": 1}},
        ),
        (
            "PUT",
            f"/v1/request/{REQUEST}/property",
            {"key": "app", "value": "web"},
            {"request": {"app": "web"}},
        ),
    ],
)
async def test_calls_become_feedback_and_facts(
    client: httpx.AsyncClient,
    log: FakeLog,
    prefix: str,
    method: str,
    path: str,
    body: Any,
    content: dict[str, Any],
) -> None:
    """On the bare path and under the prefix."""
    answer = await client.request(method, prefix + path, json=body)

    assert (answer.status_code, answer.json()) == (200, SUCCESS)
    (event,) = decoded(log.events)
    assert (event["request_id"], event["source"]) == (REQUEST, "helicone")
    assert {name: event[name] for name in ("data", "request") if name in event} == content


@pytest.mark.parametrize("prefix", ["", "/helicone"])
async def test_the_recorded_log_becomes_the_facts_of_the_request(
    client: httpx.AsyncClient, log: FakeLog, prefix: str
) -> None:
    """Under Helicone's id of the request, by which its feedback is sent."""
    answer = await LOG.play(client, prefix)

    assert answer.status_code == LOG.needed_status
    (event,) = decoded(log.events)
    assert event["request_id"] == REQUEST
    assert event["request"] == {
        "model": "gpt-4o",
        "completion_id": "chatcmpl-1",
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "prompt": [{"role": "user", "content": "What is AES?"}],
        "response": "A cipher.",
        "started_at": 1796099059347,
        "latency_ms": 1,
        "status": "success",
        "user_id": "u1",
    }


async def test_a_log_without_a_request_id_has_that_of_the_completion(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """Without both it is rejected."""
    body = LOG.value
    answer = await client.post("/custom/v1/log", json=body)
    del body["providerResponse"]["json"]["id"]
    refused = await client.post("/custom/v1/log", json=body)

    assert answer.status_code == 200
    assert [event["request_id"] for event in decoded(log.events)] == ["chatcmpl-1"]
    assert refused.status_code == 422
    assert "Helicone-Request-Id" in refused.json()["error"]


async def test_a_failed_request_and_a_large_prompt_keep_their_other_facts(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """A prompt that does not fit into an event is left out."""
    body = {
        "providerRequest": {"json": {"model": "m", "messages": [{"role": "user", "content": "x" * 600_000}]}},
        "providerResponse": {"status": 500, "json": {"error": "overloaded"}},
        "timing": {"startTime": {"seconds": 1767323045, "milliseconds": 0}},
    }
    answer = await client.post("/custom/v1/log", json=body, headers={"helicone-request-id": "r"})

    assert answer.status_code == 200
    assert decoded(log.events)[0]["request"] == {
        "model": "m",
        "response": {"error": "overloaded"},
        "started_at": 1767323045000,
        "status": "failure",
    }


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("request/r/feedback", {}, "rating is missing"),
        ("request/r/feedback", {"rating": 1}, "rating must be a boolean"),
        ("request/r/score", {"scores": {}}, "scores is empty"),
        ("request/r/score", {"scores": {"a": "b"}}, "scores.a must be a number or a boolean"),
        ("feedback", {"helicone-id": "", "rating": True}, "request_id is empty"),
    ],
)
async def test_what_is_refused_has_the_reason(
    client: httpx.AsyncClient, log: FakeLog, path: str, body: Any, detail: str
) -> None:
    """In `error`, beside the empty `data`."""
    answer = await client.post(f"/v1/{path}", json=body)

    assert answer.status_code == 422
    assert answer.json()["data"] is None
    assert detail in answer.json()["error"]
    assert log.events == []


async def test_other_errors_have_the_same_form(log: FakeLog, tmp_path: Path) -> None:
    """No key, a log that is gone, a path that is not taken; the key is in Helicone's header or another."""
    key = new_key(tmp_path)
    app = ingest_over(log, tmp_path)
    headers = {"helicone-auth": f"Bearer {key}", "authorization": "Bearer sk-of-a-provider"}
    async with client_of(app) as stranger, client_of(app, None, **headers) as client:
        taken = await LOG.play(client)
        refused = await LOG.play(stranger)
        untaken = await client.post("/v1/request/r/assets", json={})
        log.problem = "gone"
        unavailable = await LOG.play(client)

    answers = (taken, refused, untaken, unavailable)
    assert [answer.status_code for answer in answers] == [200, 401, 404, 503]
    assert all(answer.json()["error"] for answer in answers[1:])
