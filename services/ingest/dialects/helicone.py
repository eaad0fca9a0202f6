"""Helicone: ratings, scores and properties of a request, and logs of requests by its manual logger.

The request id is Helicone's, which the log has in the header `Helicone-Request-Id`; without that header it is
the id of the completion.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from services.ingest.core.errors import BodyFault, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects.completions import facts_of, known
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Dialect,
    DialectCall,
    Item,
    ItemOutcome,
    ItemsRoute,
    Receipt,
    Reply,
    RouteDoc,
    SingleRoute,
    Submission,
    member,
    number,
    receipts,
    required,
    score_key,
    submission,
)

SUCCESS = Reply(200, b'{"data":null,"error":null}')
FIRST_ERROR_STATUS = 400


def read_rating(request_id: str, body: bytes) -> Submission:
    """Return the submission of a rating, true or false."""
    return submission(request_id, {"rating": required(decoded(body), "rating", bool)})


def read_legacy_rating(_request_id: str, body: bytes) -> Submission:
    """Return the submission of a rating whose body has the request id."""
    value = decoded(body)
    return submission(required(value, "helicone-id", str), {"rating": required(value, "rating", bool)})


def read_scores(request_id: str, body: bytes) -> Submission:
    """Return the submission of named numbers and booleans."""
    scores = required(decoded(body), "scores", dict)
    if not scores:
        raise invalid(BodyFault("scores", "is empty"))
    return submission(request_id, {score_key(name): number(scores, name, "scores") for name in scores})


def read_property(request_id: str, body: bytes) -> Submission:
    """Return the submission of a property, which is a fact of the request."""
    value = decoded(body)
    return submission(request_id, request={required(value, "key", str): required(value, "value", object)})


def read_log(call: DialectCall) -> list[Item]:
    """Return the item of a logged request; raise Rejection."""
    body = decoded(call.body)
    asked, answered = (required(body, name, dict) for name in ("providerRequest", "providerResponse"))
    headers = _headers(call, answered)
    request = member(asked, "json", dict, "providerRequest") or {}
    response = answered.get("json")
    facts = {"model": request.get("model"), **facts_of(_prompt(request), response)}
    request_id = headers.get("helicone-request-id") or facts.get("completion_id")
    if not isinstance(request_id, str):
        detail = "is missing, and so is the header Helicone-Request-Id: one of both names the request"
        raise invalid(BodyFault("providerResponse.json.id", detail))
    facts |= _times(member(body, "timing", dict) or {})
    facts["status"] = _status(answered.get("status"))
    facts["user_id"] = headers.get("helicone-user-id")
    facts["session_id"] = headers.get("helicone-session-id")
    return [Item(request_id, submission(request_id, request=known(facts)))]


def _headers(call: DialectCall, answered: Mapping[str, Any]) -> dict[str, str]:
    """Return Helicone's headers of the call, and those that the log has of the response."""
    logged = member(answered, "headers", dict, "providerResponse") or {}
    found = {name.lower(): value for name, value in logged.items() if isinstance(value, str)}
    return found | {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}


def _prompt(request: Mapping[str, Any]) -> Any:
    return next((request[name] for name in ("messages", "prompt", "input") if request.get(name)), None)


def _times(timing: Mapping[str, Any]) -> dict[str, Any]:
    started, ended = (_milliseconds(timing, name) for name in ("startTime", "endTime"))
    if started is None:
        return {}
    return known({"started_at": started, "latency_ms": None if ended is None else ended - started})


def _milliseconds(timing: Mapping[str, Any], name: str) -> int | None:
    """Return a time as milliseconds since 1970, None if it is missing."""
    time = member(timing, name, dict, "timing")
    if time is None:
        return None
    seconds, milliseconds = (number(time, part, f"timing.{name}") for part in ("seconds", "milliseconds"))
    try:
        return int(seconds * 1000 + milliseconds)
    except (OverflowError, ValueError):
        raise invalid(BodyFault(f"timing.{name}", "is a number too large for a time")) from None


def _status(status: Any) -> str | None:
    if not isinstance(status, int):
        return None
    return "success" if status < FIRST_ERROR_STATUS else "failure"


def answer(_receipt: Receipt) -> Reply:
    """Return the answer to everything that is stored."""
    return SUCCESS


def answer_log(_call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer to a log; raise Rejection if it was rejected."""
    receipts(outcomes)
    return SUCCESS


def problem(rejection: Rejection) -> Reply:
    """Return an error in Helicone's form."""
    return Reply(rejection.status, orjson.dumps({"data": None, "error": rejection.detail}))


def fits(value: Any) -> bool:
    """Return whether a body of `/v1/feedback` is Helicone's."""
    return isinstance(value, dict) and "helicone-id" in value


ANSWER = {"data": None, "error": None}
LOG = {
    "providerRequest": {
        "url": "custom-model-nopath",
        "json": {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is AES?"}]},
        "meta": {},
    },
    "providerResponse": {
        "headers": {"Helicone-User-Id": "u1"},
        "status": 200,
        "json": {
            "id": "chatcmpl-1",
            "model": "gpt-4o",
            "choices": [{"message": {"role": "assistant", "content": "A cipher."}}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 5},
        },
    },
    "timing": {
        "startTime": {"seconds": 1767323045, "milliseconds": 347},
        "endTime": {"seconds": 1767323046, "milliseconds": 12},
    },
}


def _route(method: str, part: str, read: Callable[[str, bytes], Submission], doc: RouteDoc) -> SingleRoute:
    path = f"/v1/request/{REQUEST_ID}/{part}"
    return SingleRoute(method=method, path=path, read=read, answer=answer, doc=doc)


DIALECT = Dialect(
    "helicone",
    (
        _route("POST", "feedback", read_rating, RouteDoc("Rate a request", {"rating": True}, ANSWER)),
        _route(
            "POST",
            "score",
            read_scores,
            RouteDoc("Score a request", {"scores": {"helpfulness": 4, "grounded": True}}, ANSWER),
        ),
        _route(
            "PUT",
            "property",
            read_property,
            RouteDoc("Set a property of a request", {"key": "environment", "value": "test"}, ANSWER),
        ),
        SingleRoute(
            method="POST",
            path="/v1/feedback",
            read=read_legacy_rating,
            answer=answer,
            fits=fits,
            looks_for="an object with `helicone-id`",
            doc=RouteDoc("Rate a request, in the older form", {"helicone-id": "r-1", "rating": True}, ANSWER),
        ),
        ItemsRoute(
            method="POST",
            path="/custom/v1/log",
            read_items=read_log,
            answer_items=answer_log,
            doc=RouteDoc("Log a request", LOG, ANSWER),
        ),
    ),
    problem=problem,
    territory=("/v1/request/", "/custom/v1/", "/v1/trace/"),
)
