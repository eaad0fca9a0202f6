"""What LangSmith's clients send, as it was recorded, and what they read."""

import json
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.dialects.langsmith_feedback import data_of, name_in
from services.runtime.http.keys import Scope
from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import Exchange, exchanges
from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.logged_events import LoggedEvents

RECORDED = exchanges("langsmith")
CREATED = [one for one in RECORDED if one.method == "POST" and one.path == "/feedback"]
RUN = "018f0000-0000-7000-8000-000000000001"
FEEDBACK = "018f0000-0000-7000-8000-00000000000f"


@pytest.fixture
async def client(log: FakeLog, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an ingest without keys that reads what it wrote."""
    async with client_of(ingest_over(log, tmp_path, stored_events=LoggedEvents(log))) as client:
        yield client


def call_of(client: str, call: str) -> Exchange:
    """Return the recorded exchange of a client whose call starts so."""
    return next(one for one in RECORDED if client in one.client and one.call.startswith(call))


async def created(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    """Create feedback on the run."""
    return await client.post("/langsmith/feedback", json={"run_id": RUN, "key": "score", **fields})


@pytest.mark.parametrize("prefix", ["", "/langsmith"])
@pytest.mark.parametrize("exchange", CREATED, ids=lambda one: f"{one.client} {one.call}")
async def test_feedback_is_created(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """On the bare path and under the prefix, with the id and the time that the client gives."""
    answer = await exchange.play(client, prefix)

    sent, (event,) = exchange.value, decoded(log.events)
    assert answer.status_code == exchange.needed_status
    assert (event["source"], event["item_id"], event["request_id"]) == ("langsmith", sent["id"], RUN)
    assert event.get("at", "") == sent.get("created_at", "").replace("+00:00", "Z")
    shown = answer.json()
    assert {name: sent[name] for name in ("id", "run_id", "key", "score")}.items() <= shown.items()


async def test_recorded_feedback_becomes_keys(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Score, value, correction, comment, rater and metadata."""
    for exchange in CREATED:
        await exchange.play(client)

    assert [event["data"] for event in decoded(log.events)] == [
        {"user_score": 1, "comment": "Great"},
        {
            "user_score": 0.5555,
            "user_score_value": "thumbs_up",
            "user_score_correction": {"answer": "x"},
            "user_score_metadata": {"trace_id": RUN},
            "comment": "Great",
            "user_id": "u1",
        },
        {
            "user_score": 1,
            "user_score_metadata": {"feedbackConfig": {"type": "continuous", "min": 0, "max": 1}},
            "comment": "Great",
        },
        {"user_score": 1, "user_score_metadata": {"trace_id": RUN}},
    ]


@pytest.mark.parametrize(
    ("language", "update_call", "delete_call"),
    [("PyPI", "update_feedback", "delete_feedback"), ("npm", "updateFeedback", "deleteFeedback")],
)
async def test_recorded_calls_change_and_delete_feedback(
    client: httpx.AsyncClient, log: FakeLog, language: str, update_call: str, delete_call: str
) -> None:
    """By its id; null clears a field."""
    await created(client, id=FEEDBACK, score=1, comment="Great")
    update, delete = call_of(language, update_call), call_of(language, delete_call)
    changed = await update.play(client, "/langsmith")
    shown = (await client.get(f"/langsmith/feedback/{FEEDBACK}")).json()
    deleted = await delete.play(client, "/langsmith")
    missing = await client.get(f"/langsmith/feedback/{FEEDBACK}")

    assert (changed.status_code, deleted.status_code, missing.status_code) == (200, 200, 404)
    assert (shown["score"], shown["comment"]) == (0, update.value["comment"])
    assert missing.json() == {"detail": f"Feedback {FEEDBACK} not found", "code": "unknown_item"}
    assert decoded(log.events)[-1]["data"] == {
        name: None for name in ("score", "comment") if shown[name] is not None
    }


@pytest.mark.parametrize(("language", "call"), [("PyPI", "delete_feedback"), ("npm", "deleteFeedback")])
async def test_a_client_without_the_prefix_retracts_no_request(
    client: httpx.AsyncClient, log: FakeLog, language: str, call: str
) -> None:
    """On the bare path the call is Requesty's, with the id of a request; other clients are answered."""
    refused = await call_of(language, call).play(client)
    taken = await client.delete(f"/feedback/{RUN}")

    assert (refused.status_code, taken.status_code) == (405, 202)
    assert [event["request_id"] for event in decoded(log.events)] == [RUN]


async def test_feedback_is_read_as_it_was_given(client: httpx.AsyncClient) -> None:
    """With every field that the clients require."""
    source = {"type": "model", "metadata": {"a": 1}, "user_id": "u"}
    fields = {"value": {"b": 2}, "correction": {"c": 3}, "comment": "d", "trace_id": FEEDBACK}
    at = "2026-05-01T00:00:00+00:00"
    await created(client, id=FEEDBACK, created_at=at, feedback_source=source, score=None, **fields)

    read = (await client.get(f"/langsmith/feedback/{FEEDBACK}")).json()
    expected = {"id": FEEDBACK, "run_id": RUN, "key": "score", "score": None, **fields}
    assert read == {**expected, "created_at": at, "modified_at": at, "feedback_source": source}


async def test_changes_of_score_and_value(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Each keeps the other."""
    await created(client, id=FEEDBACK, value="good")
    path = f"/langsmith/feedback/{FEEDBACK}"
    seen = []
    for change in ({"score": 1}, {"value": "bad"}, {"score": None}, {"correction": {"a": 1}}, {}):
        assert (await client.patch(path, json=change)).status_code == 200
        read = (await client.get(path)).json()
        seen.append((read["score"], read["value"], read["correction"]))

    assert seen == [
        (1, "good", None),
        (1, "bad", None),
        (None, "bad", None),
        (None, "bad", {"a": 1}),
        (None, "bad", {"a": 1}),
    ]
    assert len(log.events) == 5


async def test_a_deleted_score_restores_that_of_another_rater(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """The row has the latest value that still counts."""
    await created(client, id="a", score=1, feedback_source={"user_id": "ann"})
    await created(client, id="b", score=2, feedback_source={"user_id": "bob"})
    await client.delete("/langsmith/feedback/b")

    cleared, restated = decoded(log.events)[2:]
    assert (cleared["item_id"], cleared["data"]) == ("b", {"score": None, "user_id": "bob"})
    assert (restated["item_id"], restated["data"]) == ("a", {"score": 1, "user_id": "ann"})


async def test_feedback_is_listed_by_page(client: httpx.AsyncClient) -> None:
    """Newest first, by run, key and source; a short page is the last."""
    for number in range(7):
        kind = {"type": "model" if number % 2 else "api"}
        at = f"2026-05-0{number + 1}T00:00:00Z"
        key = "a" if number < 5 else "b"
        await created(client, id=f"{number}", key=key, score=number, created_at=at, feedback_source=kind)

    async def ids(query: str) -> str:
        answer = await client.get(f"/langsmith/feedback?run={RUN}{query}")
        return "".join(one["id"] for one in answer.json())

    assert await ids("") == "6543210"
    assert await ids("&limit=3") == "654"
    assert await ids("&limit=3&offset=6") == "0"
    assert await ids("&key=a") == "43210"
    assert await ids("&key=a&key=b&source=model") == "531"
    assert (await client.get("/langsmith/feedback?run=other")).json() == []
    recorded = call_of("PyPI", "list_feedback")
    assert (await recorded.play(client, "/langsmith")).json() == []


@pytest.mark.parametrize(
    "query", ["", "run=r&limit=x", "run=r&offset=-1", "run=r&limit=99999999999", "&" * 2000]
)
async def test_a_list_without_runs_or_numbers_is_refused(client: httpx.AsyncClient, query: str) -> None:
    """In LangSmith's form."""
    answer = await client.get(f"/langsmith/feedback?{query}")

    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_info_keeps_clients_from_multipart(client: httpx.AsyncClient) -> None:
    """It needs no key, and has every limit that Python's tracing reads."""
    answer = await call_of("PyPI", "GET /info").play(client, "/langsmith")

    config = answer.json()["batch_ingest_config"]
    assert config["use_multipart_endpoint"] is False
    assert {"size_limit", "size_limit_bytes", "scale_up_qsize_trigger"} < config.keys()
    assert {"scale_up_nthreads_limit", "scale_down_nempty_trigger"} < config.keys()
    assert config["size_limit_bytes"] < 16 << 20


@pytest.mark.parametrize(
    "call", ["create_feedback with trace_id when", "createFeedback with traceId, /info {}"]
)
async def test_multipart_is_answered_404_so_that_clients_send_json(
    client: httpx.AsyncClient, log: FakeLog, call: str
) -> None:
    """It is counted as not taken."""
    exchange = next(one for one in RECORDED if one.call.startswith(call))
    for prefix in ("", "/langsmith"):
        answer = await exchange.play(client, prefix)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    assert log.events == []
    assert 'ingest_untaken_requests_total{dialect="langsmith"}' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "the body must be an object, not a list"),
        ({"run_id": RUN}, "key is missing"),
        ({"key": "a"}, "run_id is missing: feedback on a project is not stored"),
        ({"key": "a", "run_id": 5}, "run_id must be a string, not a number"),
        ({"key": "a", "run_id": RUN, "comment": 5}, "comment must be a string, not a number"),
        ({"key": "", "run_id": RUN, "score": 1}, 'data[""] is a key of 0 characters; 1 to 256 are allowed'),
        (
            {"key": "a", "run_id": RUN, "feedback_source": {"metadata": 1}},
            "feedback_source.metadata must be an object, not a number",
        ),
    ],
)
async def test_what_is_wrong_is_422(client: httpx.AsyncClient, body: Any, detail: str) -> None:
    """The client raises the detail at once."""
    answer = await client.post("/langsmith/feedback", json=body)

    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


async def test_feedback_without_an_id_gets_one(client: httpx.AsyncClient, log: FakeLog) -> None:
    """A UUID, as the clients require."""
    answers = [(await created(client, score=1)).json()["id"] for _ in range(2)]

    assert answers == [event["item_id"] for event in decoded(log.events)]
    assert len({UUID(one) for one in answers}) == 2


async def test_items_of_other_systems_are_not_feedback(client: httpx.AsyncClient) -> None:
    """Neither listed nor read."""
    event = {"request_id": RUN, "data": {"a": 1}, "item_id": "x"}
    assert (await client.post("/v1/events", json=event)).status_code == 202

    assert (await client.get(f"/langsmith/feedback?run={RUN}")).json() == []
    assert (await client.delete("/langsmith/feedback/x")).status_code == 404
    assert (await client.patch("/langsmith/feedback/x", json={})).status_code == 404


async def test_a_rate_limit_is_503(log: FakeLog, tmp_path: Path) -> None:
    """The Python client repeats 429 with growing pauses, a quarter of an hour in all."""
    async with client_of(ingest_over(log, tmp_path, ingest_events_per_second=0.1)) as client:
        answers = [await created(client, score=1) for _ in range(3)]

    assert answers[-1].status_code == 503
    assert answers[-1].json()["code"] == "rate_limited"
    assert "retry-after" in answers[-1].headers


async def test_a_log_that_cannot_be_written_is_503(client: httpx.AsyncClient, log: FakeLog) -> None:
    """With Retry-After."""
    log.problem = "gone"
    answer = await created(client, score=1)

    assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
    assert "retry-after" in answer.headers


async def test_keys_are_required(log: FakeLog, tmp_path: Path) -> None:
    """In `x-api-key`, as the clients send it; the error is in LangSmith's form."""
    key = new_key(tmp_path, Scope.WRITE)
    async with client_of(ingest_over(log, tmp_path)) as client:
        refused = await created(client, score=1)
        headers = {"x-api-key": key}
        body = {"run_id": RUN, "key": "a", "score": 1}
        taken = await client.post("/langsmith/feedback", json=body, headers=headers)

    assert (refused.status_code, taken.status_code) == (401, 200)
    assert refused.json()["code"] == "unauthenticated"


async def new_token(client: httpx.AsyncClient, **fields: Any) -> dict[str, str]:
    """Create a token for the run."""
    body = {"run_id": RUN, "feedback_key": "score", **fields}
    return dict((await client.post("/langsmith/feedback/tokens", json=body)).json())


@pytest.mark.parametrize("call", ["create_presigned_feedback_token", "createPresignedFeedbackToken"])
async def test_a_token_is_created(client: httpx.AsyncClient, log: FakeLog, call: str) -> None:
    """What is stored of it cannot be used; a lifetime is three hours unless the client names it."""
    exchange = next(one for one in RECORDED if one.call.startswith(call))
    answer = (await exchange.play(client, "/langsmith")).json()

    (event,) = decoded(log.events)
    assert answer["url"] == f"http://127.0.0.1/langsmith/feedback/tokens/{UUID(answer['id'])}"
    assert sha256(UUID(answer["id"]).bytes).hexdigest() == event["item_id"]
    assert answer["id"] not in log.events[0].decode()
    lifetime = datetime.fromisoformat(answer["expires_at"]) - datetime.fromisoformat(event["received_at"])
    assert abs(lifetime - timedelta(hours=3)) < timedelta(minutes=1)
    assert event["request_id"] == RUN
    assert event["request"]["feedback_token"]["key"] == "user_score"


async def test_tokens_are_created_together(client: httpx.AsyncClient, log: FakeLog) -> None:
    """An array is answered by an array."""
    answers = (await call_of("PyPI", "create_presigned_feedback_tokens").play(client, "/langsmith")).json()

    assert len({one["id"] for one in answers}) == len(log.events) == 2


async def test_a_token_is_used_without_a_key(log: FakeLog, tmp_path: Path) -> None:
    """By a client, for the tenant that created it; each use changes the same feedback."""
    app = ingest_over(log, tmp_path, stored_events=LoggedEvents(log))
    key = new_key(tmp_path, Scope.WRITE, tenant="acme")
    async with client_of(app, key) as owner, client_of(app) as visitor:
        token = await new_token(owner, id=FEEDBACK)
        exchange = call_of("PyPI", "create_feedback_from_token")
        used = await exchange.play(visitor, "/langsmith", path=f"/feedback/tokens/{token['id']}")
        again = await visitor.post(token["url"], json={"score": 0})

    assert (used.status_code, again.status_code) == (200, 200)
    first, second = decoded(log.events)[1:]
    assert (first["tenant"], first["request_id"], first["item_id"]) == ("acme", RUN, FEEDBACK)
    assert first["data"] == {"score": 1, "comment": "hi", "score_metadata": {"a": 1}}
    assert (second["item_id"], second["data"]) == (FEEDBACK, {"score": 0})
    assert second["at"]


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("score=1", {"score": 1}),
        ("score=0.5&comment=So%20so", {"score": 0.5, "comment": "So so"}),
        ("score=True", {"score": True}),
        ("value=good", {"score": "good"}),
    ],
)
async def test_a_link_stores_feedback_and_shows_a_page(
    client: httpx.AsyncClient, log: FakeLog, query: str, data: dict[str, Any]
) -> None:
    """Followed in a mail, it has everything in its query; the page loads nothing."""
    token = await new_token(client)
    page = await client.get(f"{token['url']}?{query}")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Thank you" in page.text
    assert not re.search(r"(src|href|url)\s*[=(]", page.text)
    assert decoded(log.events)[1]["data"] == data


@pytest.mark.parametrize("query", ["", "score=", "score=good", "other=1", "score=null"])
async def test_a_link_without_a_score_stores_nothing(
    client: httpx.AsyncClient, log: FakeLog, query: str
) -> None:
    """Programs that open bare links leave no feedback."""
    token = await new_token(client)

    assert (await client.get(f"{token['url']}?{query}")).status_code == 422
    assert len(log.events) == 1


async def test_an_expired_token_is_410_and_an_unknown_one_404(client: httpx.AsyncClient) -> None:
    """Each with a page for links."""
    expired = await new_token(client, expires_at="2026-01-01T00:00:00Z")
    cases = [(expired["url"], 410, "expired"), (f"/langsmith/feedback/tokens/{FEEDBACK}", 404, "not valid")]
    for url, status, text in cases:
        link, call = await client.get(f"{url}?score=1"), await client.post(url, json={"score": 1})
        assert (link.status_code, call.status_code) == (status, status)
        assert text in link.text
        assert text in call.json()["detail"]
    metrics = (await client.get("/metrics")).text
    assert 'ingest_rejected_total{reason="expired"}' in metrics


async def test_what_is_no_token_reads_nothing(log: FakeLog, tmp_path: Path) -> None:
    """ClickHouse is not asked for it."""
    async with client_of(ingest_over(log, tmp_path)) as client:
        assert (await client.post("/langsmith/feedback/tokens/x", json={"score": 1})).status_code == 404
        url = f"/langsmith/feedback/tokens/{FEEDBACK}"
        assert (await client.post(url, json={"comment": 1})).status_code == 422
        assert (await client.post(url, json={"score": 1})).status_code == 503


async def test_an_erase_ends_the_tokens_of_a_request(client: httpx.AsyncClient) -> None:
    """A retract does not."""
    token = await new_token(client)
    for op, status in (("retract", 200), ("erase", 404)):
        await client.post("/v1/events", json={"request_id": RUN, "op": op})
        assert (await client.post(token["url"], json={"score": 1})).status_code == status


async def test_the_event_of_a_token_cannot_be_claimed_by_another_tenant(log: FakeLog, tmp_path: Path) -> None:
    """An event with the same item id is no token, in any tenant."""
    app = ingest_over(log, tmp_path, stored_events=LoggedEvents(log))
    keys = [new_key(tmp_path, Scope.WRITE, tenant=tenant) for tenant in ("beta", "alpha")]
    async with client_of(app, keys[0]) as owner, client_of(app, keys[1]) as other:
        token = await new_token(owner)
        created, *_ = decoded(log.events)
        event = {name: created[name] for name in ("request_id", "item_id", "request")}
        assert (await other.post("/v1/events", json=event)).status_code == 202
        assert (await other.post(token["url"], json={"score": 1})).status_code == 200

    assert {event["tenant"] for event in decoded(log.events) if "data" in event} == {"beta"}


async def test_a_page_may_use_a_token(client: httpx.AsyncClient) -> None:
    """Of any origin, after a preflight or with text/plain."""
    token = await new_token(client)
    origin = {"origin": "https://shop.example"}
    preflight = await client.options(token["url"], headers=origin)
    sent = await client.post(
        token["url"], content='{"score": 1}', headers={**origin, "content-type": "text/plain"}
    )

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"
    assert sent.status_code == 200
    for answer in (preflight, sent):
        assert answer.headers["access-control-allow-origin"] == origin["origin"]
    refused = await client.options("/langsmith/feedback", headers=origin)
    assert refused.status_code == 405


async def test_calls_without_a_key_share_a_rate(client: httpx.AsyncClient) -> None:
    """Guesses cannot make ClickHouse busy, nor spend the rate of a tenant."""
    url = f"/langsmith/feedback/tokens/{FEEDBACK}"
    for _ in range(10_000):  # until they are more than 20 a second, with a burst of 200
        answer = await client.post(url, json={"score": 1})
        if answer.status_code != 404:
            break

    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("calls without a key exceed their rate limit")
    assert (await created(client, score=1)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"run_id": None}, "run_id is missing"),
        ({"feedback_key": ""}, 'data[""] is a key of 0 characters; 1 to 256 are allowed'),
        ({"expires_at": "soon"}, "expires_at is no time from 1970 to 2099"),
        *(
            (
                {"expires_in": span},
                "expires_in must be days, hours and minutes, together no more than 3660 days",
            )
            for span in ({"days": -1}, {"days": 1e300}, {"days": "x"}, {"hours": 100_000})
        ),
    ],
)
async def test_a_token_that_could_not_be_used_is_422(
    client: httpx.AsyncClient, log: FakeLog, fields: dict[str, Any], detail: str
) -> None:
    """Nothing is written."""
    body = {"run_id": RUN, "feedback_key": "a", **fields}
    answer = await client.post("/langsmith/feedback/tokens", json=body)

    assert (answer.status_code, answer.json()["detail"]) == (422, detail)
    assert log.events == []


async def facts_of(client: httpx.AsyncClient, log: FakeLog, run: dict[str, Any]) -> dict[str, Any]:
    """Return the request id and the facts that a run becomes."""
    before = len(log.events)
    answer = await client.post("/langsmith/runs/batch", json={"post": [run]})
    assert answer.status_code == 202, answer.text
    return {name: fact for event in decoded(log.events[before:]) for name, fact in event["request"].items()}


async def test_a_recorded_trace_becomes_facts(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Of the completion that the outputs name; times are text and a number in one run."""
    answer = await call_of("npm", "wrapOpenAI traced call, use_m").play(client, "/langsmith")

    (event,) = decoded(log.events)
    run = "01a22fc7-e69c-7000-8000-00f0dfea2714"
    assert answer.status_code == 202
    assert event["request_id"] == "chatcmpl-fake1"
    assert event["request"] == {
        "name": "ChatOpenAI",
        "model": "gpt-4o-2024-08-06",
        "provider": "openai",
        "started_at": "2026-12-01T04:05:59.580001Z",
        "latency_ms": pytest.approx(291.999),
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "prompt": [{"role": "user", "content": "What is AES?"}],
        "response": "A cipher.",
        "status": "success",
        "trace_id": run,
        "span_id": run,
        "completion_id": "chatcmpl-fake1",
    }


async def test_a_run_of_langchain_becomes_facts(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Its outputs are generations; a cost and a user count where the metadata have them."""
    message = {
        "usage_metadata": {"input_tokens": 3, "output_tokens": 4, "total_cost": 0.5},
        "response_metadata": {"model_name": "m", "id": "chatcmpl-2"},
    }
    run = {
        "id": RUN,
        "run_type": "llm",
        "end_time": 1,
        "error": "Boom",
        "extra": {"metadata": {"user_id": "u", "thread_id": "t"}},
        "outputs": {"generations": [[{"text": "Yes", "message": {"kwargs": message}}]]},
    }
    facts = await facts_of(client, log, run)

    expected = {"model": "m", "cost_usd": 0.5, "user_id": "u", "session_id": "t", "response": "Yes"}
    expected |= {"prompt_tokens": 3, "completion_tokens": 4, "status": "error", "error": "Boom"}
    assert facts == {**expected, "span_id": RUN, "completion_id": "chatcmpl-2"}


async def test_a_model_run_is_stored_when_it_has_ended(client: httpx.AsyncClient, log: FakeLog) -> None:
    """A change has the outputs, and its start in the dotted order."""
    start: dict[str, Any] = {
        "id": RUN,
        "trace_id": FEEDBACK,
        "run_type": "llm",
        "start_time": "2026-12-01T04:00:00Z",
    }
    start["outputs"] = {}
    assert (await client.post("/langsmith/runs", json=start)).status_code == 202
    assert log.events == []
    end = {
        "trace_id": FEEDBACK,
        "dotted_order": f"20261201T035900000000Z{FEEDBACK}.20261201T040000000000Z{RUN}",
        "end_time": "2026-12-01T04:00:02+00:00",
        "outputs": {"id": "chatcmpl-3", "choices": [], "usage_metadata": {"input_tokens": 1}},
    }
    assert (await client.patch(f"/langsmith/runs/{RUN}", json=end)).status_code == 202

    (event,) = decoded(log.events)
    assert event["request_id"] == "chatcmpl-3"
    assert event["request"]["latency_ms"] == 2000
    assert (event["request"]["trace_id"], event["request"]["span_id"]) == (FEEDBACK, RUN)


async def test_a_root_is_stored_under_the_id_of_its_run(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Where feedback on it is, without what models' runs have; those in between are only counted."""
    chain: dict[str, Any] = {
        "run_type": "chain",
        "start_time": "2026-12-01T04:00:00Z",
        "inputs": {"question": "Q"},
    }
    chain["outputs"] = {"usage_metadata": {"input_tokens": 1}, "model": "m"}
    body = {
        "post": [{**chain, "id": RUN, "trace_id": RUN}],
        "patch": [{**chain, "id": FEEDBACK, "trace_id": RUN, "parent_run_id": RUN}],
    }
    assert (await client.post("/langsmith/runs/batch", json=body)).status_code == 202

    (event,) = decoded(log.events)
    assert (event["request_id"], event["request"]["prompt"]) == (RUN, {"question": "Q"})
    assert {"status", "model", "prompt_tokens"}.isdisjoint(event["request"])
    assert 'ingest_skipped_items_total{dialect="langsmith"}' in (await client.get("/metrics")).text


async def test_what_is_too_deep_to_store_is_its_json_text(client: httpx.AsyncClient, log: FakeLog) -> None:
    """The other facts of the run are not lost."""
    deep: Any = "x"
    for _ in range(30):
        deep = [deep]
    facts = await facts_of(client, log, {"id": RUN, "inputs": {"a": deep}})

    assert json.loads(facts["prompt"]) == {"a": deep}


async def test_an_invalid_run_is_422_and_the_others_are_stored(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """The clients log the detail."""
    answer = await client.post("/langsmith/runs/batch", json={"post": [{"id": 5}, {"id": RUN}, 7]})

    assert (answer.status_code, answer.json()["detail"]) == (422, "id must be a string, not a number")
    assert [event["request_id"] for event in decoded(log.events)] == [RUN]


names = st.text(min_size=1, max_size=5) | st.sampled_from(
    (
        "comment",
        "user_id",
        "a_metadata",
        "a_value",
        "a_correction",
        "a_score",
        "comment_metadata",
        "user_id_score",
    )
)
values = st.none() | st.booleans() | st.integers() | st.text(max_size=2) | st.just({"a": 1})


@given(
    names,
    st.fixed_dictionaries(
        {
            "score": st.none() | st.booleans() | st.integers(),
            "value": values,
            "correction": st.just({}) | st.none(),
        }
    ),
    st.none() | st.text(min_size=1, max_size=2),
    st.none() | st.just("u"),
    st.dictionaries(st.sampled_from(("a", "trace_id")), values, max_size=2),
)
def test_the_name_of_a_score_can_be_read_from_its_keys(
    name: str, feedback: dict[str, Any], comment: str | None, rater: str | None, metadata: dict[str, Any]
) -> None:
    """Whatever it is called, and whatever was given beside it."""
    assert name_in(data_of(name, {**feedback, "comment": comment}, rater, metadata)) == name
