"""What TensorZero's client sends, as it was recorded."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.ingest.app import client_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import Exchange, exchanges
from tests.support.ingest.fake_log import FakeLog

RECORDED = exchanges("tensorzero")
INFERENCE = "018f0000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("prefix", ["", "/tensorzero"])
@pytest.mark.parametrize("exchange", RECORDED, ids=lambda one: one.call)
async def test_a_recorded_call_is_answered_with_a_uuid(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """On the bare path and under the prefix; a dry run writes nothing."""
    answer = await exchange.play(client, prefix)

    assert answer.status_code == exchange.needed_status
    assert UUID(answer.json()["feedback_id"]).version == 7
    if exchange.value["dryrun"]:
        assert log.events == []
    else:
        (event,) = decoded(log.events)
        assert event["event_id"] == answer.json()["feedback_id"]
        assert event["source"] == "tensorzero"


async def test_recorded_calls_become_feedback(client: httpx.AsyncClient, log: FakeLog) -> None:
    """A metric is the key of its name, and the tag `user_id` is the rater."""
    for exchange in RECORDED:
        await exchange.play(client)

    assert [(event["request_id"], event["data"]) for event in decoded(log.events)] == [
        (INFERENCE, {"thumbs_up": True, "user_id": "u1"}),
        (INFERENCE, {"comment": "Great"}),
    ]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ({"metric_name": "rating", "value": 4.5}, {"rating": 4.5}),
        ({"metric_name": "ok", "value": False}, {"ok": False}),
        (
            {"metric_name": "user_id", "value": 1, "tags": {"user_id": "u"}},
            {"user_id_score": 1, "user_id": "u"},
        ),
        ({"metric_name": "demonstration", "value": "So."}, {"demonstration": "So."}),
        (
            {"metric_name": "demonstration", "value": [{"type": "text", "text": "So."}]},
            {"demonstration": [{"type": "text", "text": "So."}]},
        ),
        (
            {"metric_name": "ok", "value": True, "tags": {"user_id": "u", "app": "web"}},
            {"ok": True, "ok_metadata": {"app": "web"}, "user_id": "u"},
        ),
    ],
)
async def test_each_kind_of_feedback(
    client: httpx.AsyncClient, log: FakeLog, body: dict[str, Any], data: dict[str, Any]
) -> None:
    """Values as sent; other tags are metadata of the metric."""
    answer = await client.post("/feedback", json={"inference_id": INFERENCE, **body})

    assert answer.status_code == 200
    assert decoded(log.events)[0]["data"] == data


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"value": 1, "inference_id": "i"}, "metric_name is missing"),
        ({"metric_name": "m", "inference_id": "i"}, "value is missing"),
        ({"metric_name": "m", "inference_id": "i", "value": "x"}, "value must be a number or a boolean"),
        ({"metric_name": "comment", "inference_id": "i", "value": 1}, "value must be a string"),
        ({"metric_name": "m", "value": 1}, "inference_id is missing, and so is episode_id"),
        ({"metric_name": "m", "value": 1, "inference_id": "i", "episode_id": "e"}, "only one of both"),
        ({"metric_name": "demonstration", "value": "x", "episode_id": "e"}, "needs an inference_id"),
        ({"metric_name": "m", "value": 1, "inference_id": "i", "tags": []}, "tags must be an object"),
        ({"metric_name": "m", "value": 1, "inference_id": "i", "dryrun": 1}, "dryrun must be a boolean"),
        ({"metric_name": "m", "value": 1, "inference_id": ""}, "request_id is empty"),
        ({"metric_name": "m", "value": "x", "inference_id": "i", "dryrun": True}, "value must be"),
        ([], "the body must be an object, not a list"),
    ],
)
async def test_what_is_refused_has_the_reason_in_the_client_s_form(
    client: httpx.AsyncClient, log: FakeLog, body: Any, detail: str
) -> None:
    """In `error`, which the client's exception shows; dry runs are validated, too."""
    answer = await client.post("/tensorzero/feedback", json=body)

    assert answer.status_code == 422
    assert detail in answer.json()["error"]
    assert log.events == []


async def test_other_errors_have_the_same_form(log: FakeLog, tmp_path: Path) -> None:
    """No key, a log that is gone, too many events, a path that is not taken."""
    key = new_key(tmp_path)
    app = ingest_over(log, tmp_path, ingest_events_per_second=1)
    async with client_of(app) as stranger, client_of(app, key) as client:
        refused = await RECORDED[0].play(stranger, "/tensorzero")
        log.problem = "gone"
        unavailable = await RECORDED[0].play(client, "/tensorzero")
        log.problem = None
        limited = [await RECORDED[0].play(client, "/tensorzero") for _ in range(12)][-1]
        untaken = await client.post("/tensorzero/inference", json={})

    statuses = [answer.status_code for answer in (refused, unavailable, limited, untaken)]
    assert statuses == [401, 503, 429, 404]
    assert all(answer.json()["error"] for answer in (refused, unavailable, limited, untaken))
    assert "retry-after" in unavailable.headers
    assert "retry-after" in limited.headers
