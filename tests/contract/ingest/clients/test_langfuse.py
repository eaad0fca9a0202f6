"""What Langfuse's clients send, as it was recorded, and the answers that they need."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime.http.keys import Scope
from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import Exchange, exchanges
from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.logged_events import LoggedEvents

RECORDED = exchanges("langfuse")
SENT = [exchange for exchange in RECORDED if exchange.method == "POST"]
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("prefix", ["", "/langfuse"])
@pytest.mark.parametrize("exchange", SENT, ids=lambda one: f"{one.client} {one.call}")
async def test_a_recorded_call_gets_the_answer_that_its_client_needs(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """A 207 with every event of a batch; never `accepted`, `rejected` and `errors` for an array of scores."""
    answer = await exchange.play(client, prefix)

    assert answer.status_code == exchange.needed_status
    if isinstance(exchange.value, list):
        assert answer.json() == {"message": "Accepted"}
    else:
        successes = [{"id": event["id"], "status": 201} for event in exchange.value["batch"]]
        assert answer.json() == {"successes": successes, "errors": []}
    assert {event["source"] for event in decoded(log.events)} == {"langfuse"}


async def test_recorded_scores_become_feedback(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Of a trace, of an observation and of a session, with the score's id and time."""
    await RECORDED[0].play(client)

    assert [
        (event["request_id"], event["item_id"], event["at"], event["data"]) for event in decoded(log.events)
    ] == [
        (
            TRACE,
            "my-score-1",
            "2026-12-01T03:55:37.421073Z",
            {"user-feedback": 1.0, "comment": "Great", "user_id": "u1"},
        ),
        (
            f"{TRACE}:b7ad6b7169203331",
            "5a296010ea8f7d61",
            "2026-12-01T03:55:37.421355Z",
            {"rating": 4.5},
        ),
        ("session:sess-1", "e1c6ff0672101447", "2026-12-01T03:55:37.421392Z", {"tone": "friendly"}),
    ]


async def test_a_recorded_batch_becomes_feedback_and_facts(client: httpx.AsyncClient, log: FakeLog) -> None:
    """The score and the trace have the trace's id, the generation its own behind it."""
    (mixed,) = [exchange for exchange in SENT if "generation-create" in str(exchange.body)]
    await mixed.play(client)

    score, trace, generation = decoded(log.events)
    assert (score["request_id"], score["data"]) == ("trace-1", {"user-feedback": 1, "comment": "Great"})
    assert score["at"] == "2026-12-01T03:56:44.261000Z"
    assert (trace["request_id"], trace["request"]) == (
        "trace-1",
        {
            "started_at": "2026-12-01T03:56:44.199Z",
            "user_id": "u1",
            "prompt": "hi",
            "response": "yo",
            "trace_id": "trace-1",
        },
    )
    assert generation["request_id"] == "trace-1:2dc79193-0794-45f4-a43b-6e74decd7b69"
    assert generation["request"] == {
        "model": "gpt-4o",
        "started_at": "2026-12-01T03:56:44.203Z",
        "prompt": "hi",
        "response": "yo",
        "trace_id": "trace-1",
        "span_id": "2dc79193-0794-45f4-a43b-6e74decd7b69",
        "prompt_tokens": 3,
        "completion_tokens": 4,
    }


async def test_a_repeated_batch_has_the_same_events(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Clients repeat a batch that was not answered, with the ids of its events."""
    for _ in range(2):
        await SENT[-1].play(client)

    first, second = decoded(log.events)
    assert first["event_id"] == second["event_id"]
    assert first["idempotent"]


async def batch(client: httpx.AsyncClient, *events: Any) -> httpx.Response:
    """Send a batch of these events."""
    return await client.post("/api/public/ingestion", json={"batch": list(events)})


def event(kind: str, event_id: str = "e", **body: Any) -> dict[str, Any]:
    """Return an event of a batch."""
    return {"id": event_id, "type": kind, "timestamp": "2026-05-01T12:00:00Z", "body": body}


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (
            {"usageDetails": {"input": 1, "output": 2, "total": 3}},
            {"prompt_tokens": 1, "completion_tokens": 2},
        ),
        ({"usage": {"promptTokens": 1, "completionTokens": 0}}, {"prompt_tokens": 1, "completion_tokens": 0}),
        (
            {"usageDetails": {"prompt_tokens": 1, "completion_tokens": 2}, "usage": {"input": 7}},
            {"prompt_tokens": 1, "completion_tokens": 2},
        ),
        ({"costDetails": {"input": 0.25, "output": 0.5}}, {"cost_usd": 0.75}),
        ({"costDetails": {"input": 0.25, "total": 1}}, {"cost_usd": 1}),
        ({"usage": {"inputCost": 0.25, "outputCost": 0.5}}, {"cost_usd": 0.75}),
        ({"usage": {"input": 9, "totalCost": 2}}, {"cost_usd": 2, "prompt_tokens": 9}),
        ({"level": "ERROR", "statusMessage": "gone"}, {"status": "error"}),
        (
            {"startTime": "2026-05-01T12:00:00.000Z", "endTime": "2026-05-01T14:00:00.250+02:00"},
            {"started_at": "2026-05-01T12:00:00.000Z", "latency_ms": 250.0},
        ),
        ({"endTime": "2026-05-01T12:00:00Z"}, {"ended_at": "2026-05-01T12:00:00Z"}),
        ({"usage": "7", "costDetails": []}, {}),
    ],
)
async def test_what_a_generation_becomes(
    client: httpx.AsyncClient, log: FakeLog, body: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Usage and costs in every form that clients have had."""
    answer = await batch(client, event("generation-create", id="g", traceId="t", **body))

    assert answer.json()["errors"] == []
    assert decoded(log.events)[0]["request"] == {"trace_id": "t", "span_id": "g", **facts}


async def test_an_update_has_the_latency_if_its_batch_shows_the_start(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """Clients send the end of a generation without its start."""
    await batch(
        client,
        event("generation-create", "1", id="g", traceId="t", startTime="2026-05-01T12:00:00Z"),
        event("generation-update", "2", id="g", traceId="t", endTime="2026-05-01T12:00:02Z", output=["a"]),
    )

    created, updated = decoded(log.events)
    assert created["request_id"] == updated["request_id"] == "t:g"
    assert updated["request"] == {"latency_ms": 2000.0, "response": ["a"], "trace_id": "t", "span_id": "g"}


async def test_what_is_no_generation_is_skipped_and_counted(client: httpx.AsyncClient, log: FakeLog) -> None:
    """It is a success for the client."""
    kinds = ("span-create", "span-update", "event-create", "sdk-log", "observation-create")
    answer = await batch(client, *(event(kind, kind, id="s", traceId="t") for kind in kinds))
    generation = await batch(client, event("observation-create", id="g", traceId="t", type="GENERATION"))
    metrics = (await client.get("/metrics")).text

    assert [one["id"] for one in answer.json()["successes"]] == list(kinds)
    assert generation.json()["successes"] == [{"id": "e", "status": 201}]
    assert len(log.events) == 1
    assert 'ingest_skipped_items_total{dialect="langfuse"}' in metrics


@pytest.mark.parametrize(
    ("score", "data"),
    [
        ({"value": True}, {"n": True}),
        ({"value": "x", "metadata": {"user_id": "u", "user": "v", "a": 1}}, {"n": "x", "user_id": "u"}),
        ({"value": 0, "metadata": [1], "comment": ""}, {"n": 0, "n_metadata": [1], "comment": ""}),
        ({"value": 0, "metadata": {}, "comment": None}, {"n": 0}),
        ({"value": "y", "name": "comment", "comment": "x"}, {"comment": "y"}),
    ],
)
async def test_what_a_score_becomes(
    client: httpx.AsyncClient, log: FakeLog, score: dict[str, Any], data: dict[str, Any]
) -> None:
    """The value as it was sent, the rater apart from other metadata."""
    answer = await client.post("/api/public/scores", json={"traceId": "t", "name": "n", "id": "s", **score})

    metadata = {"n_metadata": {"a": 1}} if "a" in (score.get("metadata") or {}) else {}
    assert (answer.status_code, answer.json()) == (200, {"id": "s"})
    assert decoded(log.events)[0]["data"] == data | metadata


async def test_a_score_without_an_id_gets_one(client: httpx.AsyncClient, log: FakeLog) -> None:
    """The answer has it, so that the score can be deleted."""
    score = {"traceId": "t", "name": "n", "value": 1}
    answer = await client.post("/api/public/scores", json=score)
    await batch(client, event("score-create", "envelope", **score))

    own, of_batch = decoded(log.events)
    assert own["item_id"] == answer.json()["id"] != ""
    assert of_batch["item_id"] == "envelope"


INVALID = [
    (1, "the body must be an object"),
    ({"value": 1, "traceId": "t"}, "name is missing"),
    ({"name": "n", "traceId": "t"}, "value is missing"),
    ({"name": "n", "traceId": "t", "value": {}}, "value must be a number, a boolean or a string"),
    ({"name": "n", "value": 1}, "traceId is missing"),
    ({"name": "n", "value": 1, "sessionId": "s", "observationId": "o"}, "traceId is missing"),
    ({"name": "n", "value": 1, "traceId": 1}, "traceId must be a string"),
    ({"name": "n", "value": 1, "traceId": "t", "comment": 1}, "comment must be a string"),
    ({"name": "n", "value": 1, "traceId": "t", "id": 1}, "id must be a string"),
    ({"name": "", "value": 1, "traceId": "t"}, "is a key of 0 characters"),
    ({"name": "n", "value": 1, "traceId": "t" * 300}, "more than 256 characters"),
]


@pytest.mark.parametrize(("score", "detail"), INVALID)
async def test_an_invalid_score_is_rejected_by_itself(
    client: httpx.AsyncClient, log: FakeLog, score: Any, detail: str
) -> None:
    """Alone with a status of its own; in an array and in a batch beside valid ones."""
    good: dict[str, Any] = {"id": "good", "name": "n", "value": 1, "traceId": "t"}
    alone = await client.post("/api/public/scores", json=score)
    array = await client.post("/api/public/scores", json=[good, score])
    envelope = {"id": "bad", "type": "score-create", "body": score}
    mixed = await batch(client, event("score-create", **good), envelope)

    assert alone.status_code == 422
    assert detail in alone.json()["message"]
    assert array.status_code == mixed.status_code == 207
    assert (array.json()["accepted"], array.json()["rejected"]) == (1, 1)
    (error,) = array.json()["errors"]
    assert error["index"] == 1
    assert detail in error["message"]
    (error,) = mixed.json()["errors"]
    assert (error["id"], error["status"], error["error"]) == ("bad", 422, "invalid_feedback")
    assert [one["item_id"] for one in decoded(log.events)] == ["good", "good"]


@pytest.mark.parametrize(
    "wrong",
    [
        1,
        {"type": "score-create"},
        {"body": {}},
        {"type": "other", "body": {}},
        {"type": "trace-create", "body": {}},
        {"type": "generation-create", "body": {"traceId": "t"}},
    ],
)
async def test_an_invalid_event_of_a_batch_is_rejected_by_itself(
    client: httpx.AsyncClient, log: FakeLog, wrong: Any
) -> None:
    """Whatever it is."""
    answer = await batch(client, wrong, event("trace-create", "good", id="t"))

    assert [one["id"] for one in answer.json()["successes"]] == ["good"]
    assert [one["status"] for one in answer.json()["errors"]] == [422]
    assert len(log.events) == 1


@pytest.fixture
async def reader(log: FakeLog, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an ingest that can read what it has stored."""
    async with client_of(ingest_over(log, tmp_path, stored_events=LoggedEvents(log))) as client:
        yield client


async def test_a_score_is_deleted_by_its_id(reader: httpx.AsyncClient, log: FakeLog) -> None:
    """The row gets the latest other value back; an unknown score is 404."""
    (recorded,) = [exchange for exchange in RECORDED if exchange.method == "DELETE"]
    other = {"id": "other", "traceId": "t", "name": "n", "value": 0.5}
    deleted = {"id": "my-score-1", "traceId": "t", "name": "n", "value": 1, "comment": "Great"}
    await reader.post("/langfuse/api/public/scores", json=[other, deleted])
    answer = await recorded.play(reader, "/langfuse")
    unknown = await reader.delete("/api/public/scores/my-score-1")

    assert answer.status_code == recorded.needed_status
    row: dict[str, Any] = {}
    for one in decoded(log.events):
        row |= one["data"]
    assert row == {"n": 0.5, "comment": None}
    assert (unknown.status_code, unknown.json()["error"]) == (404, "unknown_item")


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        ({"traceId": "t", "name": "n", "value": 1.5, "comment": "c"}, {"dataType": "NUMERIC"}),
        ({"traceId": "t", "observationId": "o", "name": "n", "value": True}, {"value": 1.0}),
        (
            {"sessionId": "s", "name": "n", "value": "good"},
            {"value": None, "stringValue": "good", "dataType": "CATEGORICAL"},
        ),
        ({"traceId": "t", "name": "n", "value": 1, "metadata": {"a": 1}}, {}),
        (
            {"traceId": "t", "name": "comment", "value": "only"},
            {"value": None, "stringValue": "only", "comment": "only"},
        ),
    ],
)
async def test_a_score_is_read_by_its_id(
    reader: httpx.AsyncClient, score: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Its values and its target as they were sent, and its rater, as the models of the clients have them."""
    sent = {"id": "s1", "timestamp": "2026-05-01T12:00:00Z", **score}
    rated = {**sent, "metadata": {**score.get("metadata", {}), "user": "u1"}}
    await reader.post("/api/public/scores", json=rated)
    first, second = [await reader.get(f"/api/public/{path}/s1") for path in ("scores", "v2/scores")]
    unknown = await reader.get("/api/public/scores/none")

    assert first.json() == second.json()
    assert first.json() == first.json() | sent | {"authorUserId": "u1"} | shown
    assert {"traceId", "source", "createdAt", "updatedAt"} <= first.json().keys()
    assert unknown.status_code == 404


async def test_clients_check_their_key(log: FakeLog, tmp_path: Path) -> None:
    """It is the password of Basic authentication, or the public key of a browser; health needs none."""
    key = new_key(tmp_path, Scope.WRITE)
    app = ingest_over(log, tmp_path)
    async with client_of(app) as client:
        projects = await client.get("/api/public/projects", auth=httpx.BasicAuth("pk-lf-any", key))
        browser = await SENT[0].play(client_of(app, key))
        refused = await client.get("/api/public/projects", auth=httpx.BasicAuth("pk-lf-any", "wrong"))
        health = await client.get("/api/public/health")

    assert len(projects.json()["data"]) == 1
    assert browser.status_code == 202
    assert (refused.status_code, refused.json()["error"]) == (401, "unauthenticated")
    assert health.json()["status"] == "OK"


async def test_errors_have_the_form_of_langfuse(log: FakeLog, tmp_path: Path) -> None:
    """With the statuses at which clients stop, and those at which they try again."""
    async with client_of(ingest_over(log, tmp_path, ingest_events_per_second=0.1)) as client:
        for body, status in ((b"{", 400), (b'{"batch": 1}', 422), (b"[]", 422)):
            answer = await client.post("/api/public/ingestion", content=body)
            assert answer.status_code == status
            assert answer.json()["message"]
        untaken = await client.post("/api/public/comments", json={})
        assert (untaken.status_code, untaken.json()["error"]) == (404, "not_found")
        assert (await SENT[0].play(client)).status_code == 202
        limited = await SENT[0].play(client)
        assert (limited.status_code, limited.json()["error"]) == (429, "rate_limited")
        assert "retry-after" in limited.headers


async def test_a_log_that_is_gone_is_answered_503(client: httpx.AsyncClient, log: FakeLog) -> None:
    """For the whole request: clients repeat it."""
    log.problem = "gone"
    for exchange in SENT:
        answer = await exchange.play(client)
        assert (answer.status_code, answer.json()["error"]) == (503, "log_unavailable")
        assert "retry-after" in answer.headers
