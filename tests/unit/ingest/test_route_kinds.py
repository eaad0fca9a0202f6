"""What each kind of route does with a request, by a dialect made for it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from schemas.events import Op
from services.ingest.app import IngestApp
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects import gptboost, requesty
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Decision,
    Dialect,
    DialectCall,
    FixedRoute,
    ItemOutcome,
    ItemsRoute,
    LookupRoute,
    PastEvent,
    Reply,
    StoredQuery,
    Submission,
    items_each,
    submission,
)
from services.runtime.http.keys import Scope
from tests.support.ingest.app import client_of, ingest_over, new_key
from tests.support.ingest.app import decoded as events_of
from tests.support.ingest.fake_log import FakeLog


def _scores(call: DialectCall) -> Any:
    values = decoded(call.body)
    entries = [(value["id"], value) for value in values]
    return items_each(entries, _score)


def _score(one: dict[str, Any]) -> Submission | None:
    if "skip" in one:
        return None
    if "run" not in one:
        raise invalid(BodyFault("run", "is missing"))
    return submission(one["run"], {"score": one["score"]}, item_id=one["id"], at=one.get("at"))


def _outcomes(_call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    shown = {
        outcome.id: outcome.result.detail if isinstance(outcome.result, Rejection) else bool(outcome.result)
        for outcome in outcomes
    }
    return Reply(207, orjson.dumps(shown))


def _delete(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    if not stored:
        raise Rejection(Code.UNKNOWN_ITEM, f"no score {call.request_id!r}")
    (event,) = [one for one in stored if one.item_id == call.request_id]
    cleared = submission(event.request_id, dict.fromkeys(event.data), item_id=event.item_id)
    return Decision(Reply(200, orjson.dumps({"base": call.base_url})), [cleared])


def _problem(rejection: Rejection) -> Reply:
    return Reply(418, orjson.dumps({"message": rejection.detail}))


SCORES = Dialect(
    "scores",
    (
        ItemsRoute(
            method="POST",
            path="/v1/feedback",
            read_items=_scores,
            answer_items=_outcomes,
            fits=lambda value: isinstance(value, list),
            looks_for="an array",
        ),
        LookupRoute(
            method="DELETE",
            path=f"/scores/{REQUEST_ID}/value",
            has_body=False,
            is_bare=False,
            query=lambda call: StoredQuery(item_id=call.request_id),
            decide=_delete,
            changes=True,
        ),
        LookupRoute(
            method="GET",
            path=f"/scores/{REQUEST_ID}",
            has_body=False,
            query=lambda call: StoredQuery(request_ids=(call.request_id,)),
            decide=lambda _call, stored: Decision(Reply(200, orjson.dumps(len(stored)))),
        ),
        FixedRoute(method="GET", path="/info", has_body=False, is_bare=False, reply=Reply(200, b"{}")),
    ),
    problem=_problem,
    territory=("/scores/",),
)


class Stored:
    """Stored events of a test."""

    def __init__(self, *events: PastEvent) -> None:
        self.events = events

    async def read(self, tenant: str | None, query: StoredQuery) -> list[PastEvent]:
        """Return those that the query names."""
        return [
            event
            for event in self.events
            if tenant in (None, event.tenant)
            and (event.request_id in query.request_ids or (query.item_id and event.item_id == query.item_id))
        ]


NOW = datetime(2026, 5, 1, tzinfo=UTC)
EVENT = PastEvent("default", "r", 7, "e", "s1", Op.MERGE, "scores", NOW, None, {"score": 1}, {})


def over(log: FakeLog, home: Path) -> IngestApp:
    """Return ingest with the dialect of this module as well."""
    return ingest_over(
        log, home, stored_events=Stored(EVENT), dialects=(requesty.DIALECT, gptboost.DIALECT, SCORES)
    )


@pytest.fixture
def app(log: FakeLog, tmp_path: Path) -> IngestApp:
    """Ingest with one more dialect."""
    return over(log, tmp_path)


async def test_each_item_of_a_body_is_published_or_rejected_by_itself(app: IngestApp, log: FakeLog) -> None:
    """Under the dialect's own prefix, in order, with its id and the time it was given."""
    items = [
        {"id": "a", "run": "r", "score": 1, "at": "2026-05-01T02:00:00+02:00"},
        {"id": "b", "score": 1},
        {"id": "c", "skip": True},
        {"id": "d", "run": "r", "score": 0},
    ]
    async with client_of(app) as client:
        answer = await client.post("/scores/v1/feedback", json=items)

    assert answer.status_code == 207
    assert answer.json() == {"a": True, "b": "run is missing", "c": False, "d": True}
    first, second = events_of(log.events)
    assert (first["item_id"], first["at"], first["source"]) == ("a", "2026-05-01T00:00:00Z", "scores")
    assert second["data"] == {"score": 0}
    assert "at" not in second


async def test_one_path_of_two_dialects_is_distinguished_by_the_body(app: IngestApp, log: FakeLog) -> None:
    """What fits neither is told what each looks for."""
    async with client_of(app) as client:
        vote = await client.post("/v1/feedback", json={"message_id": "m", "rating": "positive"})
        scores = await client.post("/v1/feedback", json=[{"id": "a", "run": "r", "score": 1}])
        neither = await client.post("/v1/feedback", json={"a": 1})

    assert (vote.status_code, scores.status_code, neither.status_code) == (200, 207, 422)
    assert {event["source"] for event in events_of(log.events)} == {"gptboost", "scores"}
    assert "message_id" in neither.json()["detail"]
    assert "an array" in neither.json()["detail"]


async def test_a_call_about_a_stored_item_publishes_what_it_decides(app: IngestApp, log: FakeLog) -> None:
    """Its id may stand in the middle of the path; the answer may name the address of the dialect."""
    async with client_of(app, host="feedback.localhost:8080") as client:
        answer = await client.delete("/scores/scores/s1/value")
        unknown = await client.delete("/scores/scores/s2/value")
        count = await client.get("/scores/r")

    assert answer.json() == {"base": "http://feedback.localhost:8080/scores"}
    assert events_of(log.events)[0]["data"] == {"score": None}
    assert (unknown.status_code, unknown.json()) == (418, {"message": "no score 's2'"})
    assert count.json() == 1


async def test_reading_takes_another_scope_than_changing(log: FakeLog, tmp_path: Path) -> None:
    """A key that may only write deletes, and reads nothing; fixed answers need no key."""
    key = new_key(tmp_path, Scope.WRITE)
    app = over(log, tmp_path)
    async with client_of(app, key) as client, client_of(app) as stranger:
        assert (await client.delete("/scores/scores/s1/value")).status_code == 200
        assert (await client.get("/scores/r")).json()["message"].endswith("scope `read`")
        assert (await stranger.get("/scores/info")).status_code == 200
        assert (await stranger.get("/scores/r")).status_code == 418


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer {key}"},
        {"x-api-key": "{key}"},
        {"x-portkey-api-key": "{key}", "authorization": "Bearer sk-other"},
        {"helicone-auth": "Bearer {key}", "authorization": "Bearer sk-other"},
    ],
)
async def test_keys_come_in_the_headers_of_each_system(
    log: FakeLog, tmp_path: Path, headers: dict[str, str]
) -> None:
    """A system's own header counts before Authorization, which may be the model provider's."""
    key = new_key(tmp_path, Scope.WRITE)
    async with client_of(ingest_over(log, tmp_path)) as client:
        sent = {name: value.format(key=key) for name, value in headers.items()}
        answer = await client.post("/feedback/r", json={"data": {}}, headers=sent)

    assert answer.status_code == 202


async def test_a_key_may_be_the_password_of_basic_authentication(log: FakeLog, tmp_path: Path) -> None:
    """What the user name holds is ignored; what is no base64, or holds no key, is 401."""
    key = new_key(tmp_path, Scope.WRITE)
    async with client_of(ingest_over(log, tmp_path)) as client:
        for user in ("pk-public", ""):
            answer = await client.post("/feedback/r", json={"data": {}}, auth=httpx.BasicAuth(user, key))
            assert answer.status_code == 202
        for value in ("Basic", "Basic !", "Basic YQ==", "Digest a"):
            answer = await client.post("/feedback/r", json={"data": {}}, headers={"authorization": value})
            assert answer.status_code == 401, value


async def test_what_clients_send_elsewhere_is_refused_in_their_own_form(app: IngestApp) -> None:
    """And counted by dialect."""
    async with client_of(app) as client:
        for path in ("/scores/elsewhere/and/beyond", "/scores/v2/other/path", "/k/key/scores/v2/other/path"):
            answer = await client.post(path, json={})
            assert answer.status_code == 418
            assert "is not taken from clients of scores" in answer.json()["message"]
        metrics = (await client.get("/metrics")).text

    assert 'ingest_untaken_requests_total{dialect="scores"} 3.0' in metrics


async def test_a_log_that_is_gone_refuses_the_whole_request(app: IngestApp, log: FakeLog) -> None:
    """Clients of these formats repeat requests, not items."""
    log.problem = "gone"
    async with client_of(app) as client:
        answer = await client.post("/scores/v1/feedback", json=[{"id": "a", "run": "r", "score": 1}])

    assert answer.status_code == 418
    assert "retry-after" in answer.headers
