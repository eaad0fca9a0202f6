"""What Portkey's clients send, as it was recorded."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import Exchange, exchanges
from tests.support.ingest.fake_log import FakeLog
from tests.support.ingest.logged_events import LoggedEvents

RECORDED = exchanges("portkey")
CREATED = [one for one in RECORDED if one.method == "POST"]
UPDATED = [one for one in RECORDED if one.method == "PUT"]


def named(exchange: Exchange) -> str:
    """Return the name of an exchange, for pytest."""
    return f"{exchange.client} {exchange.call}"


@pytest.mark.parametrize("prefix", ["", "/portkey"])
@pytest.mark.parametrize("exchange", CREATED, ids=named)
async def test_a_recorded_creation_is_answered_with_an_id_for_each(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """On the bare path and under the prefix; the ids are those of the items."""
    answer = await exchange.play(client, prefix)

    events = decoded(log.events)
    assert answer.status_code == exchange.needed_status
    assert answer.json() == {
        "status": "success",
        "message": "",
        "feedback_ids": [event["item_id"] for event in events],
    }
    assert all(UUID(event["item_id"]).version == 8 for event in events)
    assert {event["source"] for event in events} == {"portkey"}
    assert len(events) == len(exchange.needed_body["feedback_ids"])


async def test_recorded_creations_become_feedback(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Value and weight as sent; `_user` is the rater, and a comment in the metadata is the comment."""
    for exchange in CREATED:
        await exchange.play(client)

    assert [(event["request_id"], event["data"]) for event in decoded(log.events)] == [
        ("trace-1", {"value": 1}),
        ("trace-1", {"value": -5, "weight": 0.5, "comment": "bad", "user_id": "u1"}),
        ("t1", {"value": 1}),
        ("t2", {"value": -1, "weight": 1, "value_metadata": {"a": "b"}}),
        ("trace-1", {"value": 1, "weight": 0.5, "user_id": "u1"}),
        ("trace-1", {"value": 1}),
    ]


@pytest.mark.parametrize("prefix", ["", "/portkey"])
@pytest.mark.parametrize("exchange", UPDATED, ids=named)
async def test_a_recorded_update_changes_the_item_of_its_rater(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """The answer to the creation has the id; the rater stays."""
    created = await client.post(
        "/v1/feedback", json={"trace_id": "t", "value": 9, "weight": 1, "metadata": {"_user": "u1"}}
    )
    (feedback_id,) = created.json()["feedback_ids"]
    path = exchange.path.rpartition("/")[0] + "/" + feedback_id
    answer = await exchange.play(client, prefix, path=path)

    assert answer.status_code == exchange.needed_status
    assert answer.json() == created.json()
    changed = decoded(log.events)[1]
    assert (changed["request_id"], changed["item_id"]) == ("t", feedback_id)
    assert changed["data"] == {"value": exchange.value["value"], "user_id": "u1"}


@pytest.mark.parametrize("exchange", UPDATED, ids=named)
async def test_an_id_that_is_not_ours_is_unknown(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange
) -> None:
    """The recorded ids are Portkey's."""
    answer = await exchange.play(client)

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_item")
    assert log.events == []


async def test_feedback_of_equal_calls_has_ids_of_its_own(client: httpx.AsyncClient) -> None:
    """Each can be changed without the other."""
    ids = [(await CREATED[2].play(client)).json()["feedback_ids"] for _ in range(2)]

    assert len({*ids[0], *ids[1]}) == 4


async def test_a_repeat_with_the_same_key_has_the_same_ids(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Those of the events that are stored."""
    headers = {"idempotency-key": "k"}
    answers = [
        await client.post("/v1/feedback", json=[{"trace_id": trace, "value": 1}], headers=headers)
        for trace in ("t", "t", "u")
    ]
    ids = [answer.json()["feedback_ids"] for answer in answers]

    assert ids[0] == ids[1] != ids[2]
    first, repeat, other = decoded(log.events)
    assert first["event_id"] == repeat["event_id"] != other["event_id"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"trace_id": "t"}, "value is missing"),
        ({"trace_id": "t", "value": 11}, "value must be a number from -10 to 10"),
        ({"trace_id": "t", "value": True}, "value must be a number from -10 to 10"),
        ({"trace_id": "t", "value": 1, "weight": 2}, "weight must be a number from 0 to 1"),
        ({"trace_id": "t", "value": 1, "metadata": []}, "metadata must be an object"),
        ({"trace_id": "", "value": 1}, "trace_id is empty"),
        ({"trace_id": 1, "value": 1}, "trace_id must be a string"),
        ([{"trace_id": "t", "value": 1}, {"trace_id": "t"}], "[1].value is missing"),
        ([5], "[0] must be an object"),
        ({"value": 1}, "gptboost: an object with `message_id`"),
    ],
)
async def test_what_is_refused_has_the_reason_in_the_client_s_form(
    client: httpx.AsyncClient, log: FakeLog, body: Any, detail: str
) -> None:
    """In `error.message`, which the exception shows; one invalid item rejects all."""
    answer = await client.post("/v1/feedback", json=body)

    assert answer.status_code == 422
    shown = answer.json()
    assert detail in (shown["error"]["message"] if "error" in shown else shown["detail"])
    assert log.events == []


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": 100}, [], {"metadata": {}}])
async def test_a_change_without_content_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    """Before anything is looked up."""
    answer = await client.put("/v1/feedback/018f0000-0000-8000-8000-000000000000", json=body)

    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


async def test_other_errors_have_the_same_form(log: FakeLog, tmp_path: Path) -> None:
    """No key, a log that is gone, too many events, stored feedback that cannot be read."""
    key = new_key(tmp_path)
    app = ingest_over(log, tmp_path, ingest_events_per_second=1)
    async with client_of(app) as stranger, client_of(app, None, **{"x-portkey-api-key": key}) as client:
        refused = await CREATED[0].play(stranger, "/portkey")
        log.problem = "gone"
        unavailable = await CREATED[0].play(client, "/portkey")
        unread = await UPDATED[0].play(client, "/portkey")
        log.problem = None
        limited = [await CREATED[0].play(client, "/portkey") for _ in range(12)][-1]

    answers = (refused, unavailable, unread, limited)
    assert [answer.status_code for answer in answers] == [401, 503, 503, 429]
    assert all(answer.json()["error"]["message"] for answer in answers)
    assert all("retry-after" in answer.headers for answer in answers[1:])


async def test_what_is_refused_on_a_shared_path_is_of_the_dialect_that_the_body_is_of(
    client: httpx.AsyncClient,
) -> None:
    """It has that dialect's form, and is counted under its name."""
    answer = await client.post("/v1/feedback", json={"trace_id": "", "value": 1})
    metrics = (await client.get("/metrics")).text

    assert "trace_id is empty" in answer.json()["error"]["message"]
    assert 'ingest_requests_total{dialect="portkey",outcome="invalid_feedback"}' in metrics


async def test_a_large_bulk_is_taken(client: httpx.AsyncClient, log: FakeLog) -> None:
    """Its items are in the order of the array, and so are their ids."""
    feedback = [{"trace_id": f"t{number}", "value": 1} for number in range(3000)]
    answer = await client.post("/v1/feedback", json=feedback)

    events = decoded(log.events)
    assert [event["request_id"] for event in events] == [one["trace_id"] for one in feedback]
    assert answer.json()["feedback_ids"] == [event["item_id"] for event in events]


async def test_another_tenant_cannot_change_feedback(log: FakeLog, tmp_path: Path) -> None:
    """Its ids are unknown there."""
    one, other = new_key(tmp_path, tenant="one"), new_key(tmp_path, tenant="other")
    app = ingest_over(log, tmp_path, stored_events=LoggedEvents(log))
    async with client_of(app, one) as owner, client_of(app, other) as client:
        (feedback_id,) = (await CREATED[0].play(owner)).json()["feedback_ids"]
        answer = await client.put(f"/v1/feedback/{feedback_id}", json={"value": 2})

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_item")
