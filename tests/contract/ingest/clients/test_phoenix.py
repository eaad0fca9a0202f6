"""What Phoenix's client sends, as it was recorded."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ingest.app import client_of, code_of, decoded, ingest_over, new_key
from tests.support.ingest.exchanges import Exchange, exchanges
from tests.support.ingest.fake_log import FakeLog

RECORDED = exchanges("phoenix")
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize("prefix", ["", "/phoenix"])
@pytest.mark.parametrize("exchange", RECORDED, ids=lambda one: one.call)
async def test_a_recorded_call_is_answered_as_by_phoenix(
    client: httpx.AsyncClient, log: FakeLog, exchange: Exchange, prefix: str
) -> None:
    """With the ids of the annotations if the client waits for them."""
    answer = await exchange.play(client, prefix)

    (event,) = decoded(log.events)
    assert answer.status_code == exchange.needed_status
    needed = [one["id"] for one in exchange.needed_body["data"]]
    assert answer.json() == {"data": [{"id": event["item_id"]}] if needed else []}


async def test_recorded_calls_become_feedback(client: httpx.AsyncClient, log: FakeLog) -> None:
    """The score is the value, the label if there is none; the explanation is the comment."""
    for exchange in RECORDED:
        await exchange.play(client)

    assert [(event["request_id"], event["data"]) for event in decoded(log.events)] == [
        (
            SPAN,
            {
                "user feedback": 1,
                "user feedback_label": "thumbs-up",
                "comment": "Great",
                "user_id": "u1",
            },
        ),
        (SPAN, {"user feedback": "thumbs-up"}),
    ]


async def sent(client: httpx.AsyncClient, *annotations: dict[str, Any]) -> httpx.Response:
    """Send annotations with a name, a span and a kind where they have none."""
    entries = [
        {"name": "n", "span_id": SPAN, "annotator_kind": "HUMAN", **annotation} for annotation in annotations
    ]
    return await client.post("/v1/span_annotations?sync=true", json={"data": entries})


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        ({"result": {"score": 0.5}}, {"n": 0.5}),
        (
            {"name": "comment", "result": {"score": 1, "explanation": "Why"}},
            {"comment_score": 1, "comment": "Why"},
        ),
        ({"result": {"explanation": "Why"}}, {"comment": "Why"}),
        (
            {"result": {"label": "bad", "explanation": "Why"}, "annotator_kind": "LLM", "identifier": "v2"},
            {"n": "bad", "n_explanation": "Why"},
        ),
        ({"result": {"score": 1}, "identifier": "ann"}, {"n": 1, "user_id": "ann"}),
        (
            {"result": {"score": 1}, "identifier": "ann", "metadata": {"user": "eve", "app": "web"}},
            {"n": 1, "n_metadata": {"app": "web"}, "user_id": "eve"},
        ),
    ],
)
async def test_what_an_annotation_becomes(
    client: httpx.AsyncClient, log: FakeLog, annotation: dict[str, Any], data: dict[str, Any]
) -> None:
    """A person's explanation is a comment; a judge's is not, and its identifier names no rater."""
    assert (await sent(client, annotation)).status_code == 200

    assert decoded(log.events)[0]["data"] == data


async def test_an_annotation_with_the_same_identifier_has_the_same_id(client: httpx.AsyncClient) -> None:
    """One for each span, name and identifier, as in Phoenix."""
    result = {"result": {"score": 1}}
    answer = await sent(client, result, result, {**result, "identifier": "a"}, {**result, "name": "m"})

    first, second, *others = [one["id"] for one in answer.json()["data"]]
    assert first == second
    assert len({first, *others}) == 3


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "the body must be an object"),
        ({}, "data is missing"),
        ({"data": {}}, "data must be a list"),
        ({"data": [1]}, "data[0] must be an object"),
        ({"data": [{"name": "n"}]}, "data[0].span_id is missing"),
        ({"data": [{"span_id": "s"}]}, "data[0].name is missing"),
        ({"data": [{"span_id": "s", "name": "n"}]}, "data[0].annotator_kind is missing"),
        ({"data": [{"span_id": "s", "name": "n", "annotator_kind": "CAT"}]}, "one of HUMAN, LLM, CODE"),
        ({"data": [{"span_id": "s", "name": "n", "annotator_kind": "LLM"}]}, "data[0].result needs a score"),
        (
            {"data": [{"span_id": "s", "name": "n", "annotator_kind": "LLM", "result": {"score": "1"}}]},
            "data[0].result.score must be a number",
        ),
        (
            {"data": [{"span_id": "", "name": "n", "annotator_kind": "LLM", "result": {"score": 1}}]},
            "data[0].span_id is empty",
        ),
    ],
)
async def test_what_is_refused_has_the_reason(client: httpx.AsyncClient, body: Any, detail: str) -> None:
    """With the path of the value."""
    answer = await client.post("/v1/span_annotations", json=body)

    assert (answer.status_code, code_of(answer)) == (422, "invalid_feedback")
    assert detail in answer.json()["detail"]


async def test_an_invalid_annotation_rejects_all(client: httpx.AsyncClient, log: FakeLog) -> None:
    """The client gets one status for all of them."""
    answer = await sent(client, {"result": {"score": 1}}, {"result": {}})

    assert answer.status_code == 422
    assert "data[1].result" in answer.json()["detail"]
    assert log.events == []


async def test_other_errors(log: FakeLog, tmp_path: Path) -> None:
    """No key, a log that is gone, a path that is not taken."""
    key = new_key(tmp_path)
    app = ingest_over(log, tmp_path)
    async with client_of(app) as stranger, client_of(app, key) as client:
        assert code_of(await RECORDED[0].play(stranger)) == "unauthenticated"
        assert code_of(await client.post("/v1/trace_annotations", json={})) == "not_found"
        log.problem = "gone"
        assert code_of(await RECORDED[0].play(client)) == "log_unavailable"
