"""What each route writes, and how it answers."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.ingest.app import client_of, code_of, decoded, ingest_over
from tests.support.ingest.fake_log import FakeLog


async def test_requesty_feedback_is_answered_with_its_place_in_the_log(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """202 tells the request, the event and the version, as text."""
    answer = await client.post("/feedback/chatcmpl-1", json={"data": {"rating": 5, "tags": ["a"]}})

    assert answer.status_code == 202
    [event] = decoded(log.events)
    assert answer.json() == {
        "status": "accepted",
        "request_id": "chatcmpl-1",
        "event_id": event["event_id"],
        "version": "0",
    }
    assert event["data"] == {"rating": 5, "tags": ["a"]}
    assert (event["tenant"], event["source"], event["op"]) == ("default", "requesty", "merge")
    assert "request" not in event
    assert "idempotent" not in event


async def test_fields_beside_data_are_omitted_in_requestys_dialect(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """What the dialect does not know is no reason to lose the feedback."""
    answer = await client.post("/feedback/r", json={"data": {"rating": 5}, "extra": [1]})

    assert answer.status_code == 202
    assert decoded(log.events)[0]["data"] == {"rating": 5}


async def test_a_retract_carries_nothing(client: httpx.AsyncClient, log: FakeLog) -> None:
    """DELETE needs no body, and its event has neither data nor request."""
    answer = await client.delete("/feedback/chatcmpl-1")

    assert answer.status_code == 202
    [event] = decoded(log.events)
    assert event["op"] == "retract"
    assert not {"data", "request"} & set(event)


async def test_a_fact_that_no_column_can_hold_is_stored_with_a_warning(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """By both routes of facts; where there is nothing to warn of, the answer has no such member."""
    facts = {"started_at": "yesterday", "latency_ms": "812 ms", "cost_usd": 0.5}
    put = await client.put("/v1/requests/r", json=facts)
    post = await client.post("/v1/events", json={"request_id": "r", "request": {"started_at": 9999999999}})
    plain = await client.put("/v1/requests/r", json={"started_at": "2026-01-02T03:04:05+0100"})

    assert [answer.status_code for answer in (put, post, plain)] == [202] * 3
    assert [one["key"] for one in put.json()["warnings"]] == ["request.started_at", "request.latency_ms"]
    assert "RFC 3339" in put.json()["warnings"][0]["detail"]
    assert [one["key"] for one in post.json()["warnings"]] == ["request.started_at"]
    assert "warnings" not in plain.json()
    assert decoded(log.events)[0]["request"] == facts


async def test_request_facts_are_the_body_itself(client: httpx.AsyncClient, log: FakeLog) -> None:
    """PUT takes any keys as facts of the request."""
    answer = await client.put("/v1/requests/chatcmpl-1", json={"model": "gpt-x", "latency_ms": 812.5})

    assert answer.status_code == 202
    [event] = decoded(log.events)
    assert event["request"] == {"model": "gpt-x", "latency_ms": 812.5}
    assert "data" not in event
    assert event["source"] == "native"


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/feedback/", "/gptboost/v1/feedback/"])
async def test_a_vote_is_answered_200_with_a_json_body(
    client: httpx.AsyncClient, log: FakeLog, path: str
) -> None:
    """Both forms of the path, and the dialect's own prefix, lead to the same place."""
    vote = {"message_id": "chatcmpl-1", "rating": "positive", "comment": "", "tags": []}
    answer = await client.post(path, json=vote)

    assert answer.status_code == 200
    [event] = decoded(log.events)
    assert answer.json() == {
        "status": "accepted",
        "message_id": "chatcmpl-1",
        "event_id": event["event_id"],
        "version": "0",
    }
    assert event["data"] == {"rating": "positive"}
    assert event["source"] == "gptboost"


async def test_a_vote_keeps_its_comment_tags_and_all_other_keys(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """Nothing that was said is dropped; null means absent where empty does."""
    vote = {"message_id": "m", "rating": "amazing", "comment": "ü", "tags": ["x"], "page": {"n": 1}}
    await client.post("/v1/feedback/", json=vote)
    await client.post(
        "/v1/feedback/", json={"message_id": "n", "rating": "negative", "comment": None, "tags": None}
    )

    said = {event["request_id"]: event["data"] for event in decoded(log.events)}
    assert said["m"] == {"rating": "amazing", "comment": "ü", "tags": ["x"], "page": {"n": 1}}
    assert said["n"] == {"rating": "negative"}


async def test_one_native_event_is_answered_202(client: httpx.AsyncClient, log: FakeLog) -> None:
    """An object is one event, with data, facts or both."""
    event = {"request_id": "a/b", "data": {"x": None}, "request": {"model": "m"}}
    answer = await client.post("/v1/events", json=event)

    assert answer.status_code == 202
    [written] = decoded(log.events)
    assert {name: written[name] for name in event} == event


async def test_a_repeated_idempotency_key_makes_the_same_event_id(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """The id depends on the request, the key and the place in the batch; the event says so."""
    headers = {"idempotency-key": "job-7"}
    one = await client.post("/feedback/r", json={"data": {"x": 1}}, headers=headers)
    again = await client.post("/feedback/r", json={"data": {"x": 1}}, headers=headers)
    other = await client.post("/feedback/s", json={"data": {"x": 1}}, headers=headers)
    events = [{"request_id": "r", "data": {"x": 1}}, {"request_id": "r", "data": {"x": 1}}]
    batch = await client.post("/v1/events", json=events, headers=headers)

    first = one.json()["event_id"]
    assert first[14] == "8"
    assert first == again.json()["event_id"]
    assert first != other.json()["event_id"]
    assert first == batch.json()["items"][0]["event_id"]
    assert first != batch.json()["items"][1]["event_id"]
    assert all(event["idempotent"] is True for event in decoded(log.events))


async def test_without_a_known_offset_there_is_no_version(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Kafka has the event, and did not say where."""
    log.forgets_offsets = True
    single = await client.post("/feedback/r", json={"data": {}})
    batch = await client.post("/v1/events", json=[{"request_id": "r", "data": {}}])
    vote = await client.post("/v1/feedback/", json={"message_id": "r", "rating": "positive"})

    assert (single.status_code, batch.status_code, vote.status_code) == (202, 207, 200)
    assert "version" not in single.json()
    assert "version" not in batch.json()["items"][0]
    assert "version" not in vote.json()


async def test_the_generation_of_the_topic_is_in_the_version(log: FakeLog, tmp_path: Path) -> None:
    """A newer topic's events come after all of an older one's."""
    log.generation = 3
    client = client_of(ingest_over(log, tmp_path))
    answer = await client.post("/feedback/r", json={"data": {}})

    assert answer.json()["version"] == str(3 << 48)


async def test_a_request_that_a_stopping_server_cancels_is_still_answered(
    client: httpx.AsyncClient, log: FakeLog
) -> None:
    """Servers cancel what does not end in time; whoever waits is told that the outcome is unknown."""
    log.held = []
    answering = asyncio.create_task(client.post("/feedback/r", json={"data": {}}))
    await eventually(lambda: log.events, every=0)
    answering.cancel()
    answer = await answering

    assert (answer.status_code, code_of(answer)) == (503, "log_unavailable")
    assert "may still be written" in answer.json()["detail"]
