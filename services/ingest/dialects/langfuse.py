"""Langfuse: scores, and the batches in which its older clients also send traces and generations.

A score belongs to a trace, to an observation of a trace, or to a session.  Its name is the key of its value.
A generation is a request with the id `traceId:observationId`; a trace has its user, session and texts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from schemas.identity import is_request_id
from schemas.instants import rfc3339
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import decoded, json_type
from services.ingest.dialects.completions import content, known, milliseconds, token_facts, total_cost
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Decision,
    Dialect,
    DialectCall,
    FixedRoute,
    Item,
    ItemOutcome,
    ItemsRoute,
    LookupRoute,
    PastEvent,
    Reply,
    RouteDoc,
    StoredQuery,
    Submission,
    items_each,
    member,
    required,
    submission,
)
from services.ingest.dialects.item_changes import RATER, StoredItem, items_with_id
from services.ingest.dialects.otel import traces_route

COMMENT = "comment"
METADATA = "_metadata"
"""Follows the name of a score in the key of its metadata."""

SESSION = "session:"
"""Precedes the id of a session, which is then the id of its request."""

RATERS = ("user_id", "userId", "user")
"""Keys of a score's metadata that name who gave it; the first one counts."""


def read_score(score: Any, score_id: str = "", at: Any = None) -> Submission:
    """Return the submission of a score; raise Rejection.

    `score_id` and `at` count if the score has no id and no timestamp.
    """
    name, value = required(score, "name", str), required(score, "value", object)
    if isinstance(value, dict | list):
        raise invalid(BodyFault("value", f"must be a number, a boolean or a string, not {json_type(value)}"))
    data: dict[str, Any] = {}
    metadata = score.get("metadata")
    if isinstance(metadata, dict):
        metadata = dict(metadata)
        if rater := next(filter(None, [metadata.pop(key, None) for key in RATERS]), None):
            data[RATER] = rater
    if metadata not in (None, {}):
        data[f"{name}{METADATA}"] = metadata
    if (comment := member(score, "comment", str)) is not None:
        data[COMMENT] = comment
    data[name] = value
    given = score.get("timestamp") or at
    return submission(_target(score), data, item_id=member(score, "id", str) or score_id, at=given)


def _target(score: Any) -> str:
    trace, observation, session = (
        member(score, name, str) for name in ("traceId", "observationId", "sessionId")
    )
    if trace:
        return _observation(trace, observation)
    if session and not observation:
        return f"{SESSION}{session}"
    raise invalid(BodyFault("traceId", "is missing, and so is sessionId: one of both is needed"))


def _observation(trace: str | None, observation: str | None) -> str:
    return ":".join(filter(None, (trace, observation)))


def read_scores(call: DialectCall) -> list[Item]:
    """Return the scores of a body, which is one or an array of them."""
    value = decoded(call.body)
    scores = value if isinstance(value, list) else [value]
    entries = [(_id(score) or _new_id(call, index), score) for index, score in enumerate(scores)]
    return items_each(
        ((score_id, (score_id, score)) for score_id, score in entries),
        lambda entry: read_score(entry[1], entry[0]),
    )


def _id(value: Any) -> str:
    """Return the id of an object, empty if it has none that could be one."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) and is_request_id(found) else ""


def _new_id(call: DialectCall, index: int) -> str:
    named = b"%b\0%d\0%b" % (call.now.isoformat().encode(), index, call.body)
    return sha256(named).hexdigest()[:32]


def answer_scores(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer: the id of one score; of several, what is wrong with those that are rejected."""
    if not call.body.lstrip().startswith(b"["):
        (outcome,) = outcomes
        if isinstance(outcome.result, Rejection):
            raise outcome.result
        return Reply(200, orjson.dumps({"id": outcome.id}))
    errors = [
        {"index": index, "id": outcome.id, "message": outcome.result.detail}
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome.result, Rejection)
    ]
    if not errors:
        # Clients log an error for any body with `accepted`, `rejected` and `errors`.
        return Reply(202, orjson.dumps({"message": "Accepted"}))
    accepted = len(outcomes) - len(errors)
    return Reply(207, orjson.dumps({"accepted": accepted, "rejected": len(errors), "errors": errors}))


def read_batch(call: DialectCall) -> list[Item]:
    """Return the events of a batch.  Clients repeat a batch with the same ids, which count once."""
    batch = required(decoded(call.body), "batch", list)
    starts = dict(_starts(batch))
    items = items_each(((_id(event), event) for event in batch), lambda event: _read(event, starts))
    return [item._replace(once=item.id) for item in items]


def _starts(batch: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield when the generations of a batch started: their updates have only the end."""
    for event in batch:
        body = event.get("body") if isinstance(event, dict) else None
        if isinstance(body, dict) and body.get("startTime") is not None:
            yield _id(body), body["startTime"]


def _read(event: Any, starts: Mapping[str, Any]) -> Submission | None:
    kind, body = required(event, "type", str), required(event, "body", dict)
    if kind == "score-create":
        return read_score(body, _id(event), event.get("timestamp"))
    if kind == "trace-create":
        return _trace(body)
    if kind in GENERATIONS or (kind in OBSERVATIONS and body.get("type") == "GENERATION"):
        return _generation(body, starts)
    if kind in NOT_KEPT or kind in OBSERVATIONS:
        return None
    raise invalid(BodyFault("type", f"{kind[:40]!r} is not a type of event that is known"))


GENERATIONS = ("generation-create", "generation-update")
OBSERVATIONS = ("observation-create", "observation-update")
NOT_KEPT = ("span-create", "span-update", "event-create", "sdk-log")


def _trace(body: dict[str, Any]) -> Submission:
    trace = required(body, "id", str)
    facts = known(
        {
            "started_at": body.get("timestamp"),
            "user_id": body.get("userId"),
            "session_id": body.get("sessionId"),
            "prompt": content(body.get("input")),
            "response": content(body.get("output")),
            "trace_id": trace,
        }
    )
    return submission(trace, None, facts)


def _generation(body: dict[str, Any], starts: Mapping[str, Any]) -> Submission:
    trace, generation = member(body, "traceId", str), required(body, "id", str)
    start, end = body.get("startTime") or starts.get(generation), body.get("endTime")
    latency = milliseconds(start, end)
    cost = total_cost(body.get("costDetails"))
    facts = known(
        {
            "model": body.get("model"),
            "started_at": body.get("startTime"),
            "ended_at": end if latency is None else None,
            "latency_ms": latency,
            "cost_usd": _usage_cost(body.get("usage")) if cost is None else cost,
            "prompt": content(body.get("input")),
            "response": content(body.get("output")),
            "status": "error" if body.get("level") == "ERROR" else None,
            "trace_id": trace,
            "span_id": generation,
        }
    )
    tokens = token_facts(body.get("usage")) | token_facts(body.get("usageDetails"))
    return submission(_observation(trace, generation), None, facts | tokens)


def _usage_cost(usage: Any) -> int | float | None:
    if not isinstance(usage, dict):
        return None
    costs = {name: usage[name] for name in ("totalCost", "inputCost", "outputCost") if name in usage}
    return total_cost(costs, "totalCost")


def answer_batch(_call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer, which names every event; to clients, statuses but 200 and 207 are failures."""
    successes, errors = [], []
    for outcome in outcomes:
        result = outcome.result
        if isinstance(result, Rejection):
            detail = {"status": result.status, "message": result.detail, "error": result.code}
            errors.append({"id": outcome.id, **detail})
        else:
            successes.append({"id": outcome.id, "status": 201})
    return Reply(207, orjson.dumps({"successes": successes, "errors": errors}))


def delete(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Withdraw the values of a score, so that the latest other ones count."""
    events = [change for item in _scores(call, stored) for change in item.deleted()]
    return Decision(Reply(202, orjson.dumps({"message": "Score deletion request accepted"})), events)


def show(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Return a score as it is after its latest change."""
    return Decision(Reply(200, orjson.dumps(_shown(_scores(call, stored)[-1]))))


def _scores(call: DialectCall, stored: Sequence[PastEvent]) -> list[StoredItem]:
    items = items_with_id(stored, call.request_id)
    if not items:
        raise Rejection(Code.UNKNOWN_ITEM, f"there is no score with the id {call.request_id!r}")
    return items


def _shown(item: StoredItem) -> dict[str, Any]:
    name = _name(item.data)
    value = item.data[name]
    number = float(value) if isinstance(value, int | float) else None
    created, updated = rfc3339(item.first.received_at), rfc3339(item.last.received_at)
    trace, _, observation = item.first.request_id.rpartition(":")
    target = {"traceId": trace or observation, "observationId": observation if trace else None}
    if item.first.request_id.startswith(SESSION):
        target = {"traceId": "", "sessionId": item.first.request_id.removeprefix(SESSION)}
    return {
        "id": item.first.item_id,
        **target,
        "name": name,
        "value": number,
        "stringValue": None if number is not None else str(value),
        "dataType": "CATEGORICAL" if number is None else "NUMERIC",
        "source": "API",
        "comment": item.data.get(COMMENT),
        "authorUserId": item.data.get(RATER),
        "metadata": item.data.get(f"{name}{METADATA}"),
        "timestamp": created if item.last.at is None else rfc3339(item.last.at),
        "createdAt": created,
        "updatedAt": updated,
    }


def _name(data: Mapping[str, Any]) -> str:
    """Return which key of an item is that of the score."""
    others = {RATER, COMMENT, *(f"{name}{METADATA}" for name in data)}
    return next((name for name in data if name not in others), COMMENT)


def problem(rejection: Rejection) -> Reply:
    """Return an error in Langfuse's form."""
    return Reply(rejection.status, orjson.dumps({"message": rejection.detail, "error": rejection.code}))


def _lookup(
    method: str,
    path: str,
    summary: str,
    decide: Callable[[DialectCall, Sequence[PastEvent]], Decision],
    answer: Any,
) -> LookupRoute:
    return LookupRoute(
        method=method,
        path=path,
        has_body=False,
        query=lambda call: StoredQuery(item_id=call.request_id),
        decide=decide,
        changes=decide is delete,
        doc=RouteDoc(summary, answer=answer),
    )


PROJECT = {
    "id": "afterword",
    "name": "Afterword",
    "organization": {"id": "afterword", "name": "Afterword"},
    "metadata": {},
}
SCORE = {"id": "score-1", "traceId": "trace-1", "name": "user-feedback", "value": 1, "comment": "Great"}
EVENT = {"id": "event-1", "type": "score-create", "timestamp": "2026-03-01T09:00:00Z", "body": SCORE}
SHOWN = {**SCORE, "dataType": "NUMERIC", "source": "API", "timestamp": "2026-03-01T09:00:00Z"}

DIALECT = Dialect(
    "langfuse",
    (
        ItemsRoute(
            method="POST",
            path="/api/public/scores",
            read_items=read_scores,
            answer_items=answer_scores,
            doc=RouteDoc("Give one score, or an array of scores", [SCORE], {"message": "Accepted"}),
        ),
        ItemsRoute(
            method="POST",
            path="/api/public/ingestion",
            read_items=read_batch,
            answer_items=answer_batch,
            doc=RouteDoc(
                "Send scores, traces and generations",
                {"batch": [EVENT]},
                {"successes": [{"id": "event-1", "status": 201}], "errors": []},
            ),
        ),
        _lookup("DELETE", f"/api/public/scores/{REQUEST_ID}", "Delete a score", delete, {"message": "…"}),
        _lookup("GET", f"/api/public/scores/{REQUEST_ID}", "Read a score", show, SHOWN),
        _lookup("GET", f"/api/public/v2/scores/{REQUEST_ID}", "Read a score", show, SHOWN),
        traces_route("/api/public/otel/v1/traces"),
        FixedRoute(
            method="GET",
            path="/api/public/projects",
            has_body=False,
            needs_key=True,
            reply=Reply(200, orjson.dumps({"data": [PROJECT]})),
            doc=RouteDoc("Check a key", answer={"data": [PROJECT]}),
        ),
        FixedRoute(
            method="GET",
            path="/api/public/health",
            has_body=False,
            reply=Reply(200, orjson.dumps({"status": "OK", "version": "afterword"})),
            doc=RouteDoc("Check that the service runs", answer={"status": "OK", "version": "afterword"}),
        ),
    ),
    problem=problem,
    territory=("/api/public/",),
)
