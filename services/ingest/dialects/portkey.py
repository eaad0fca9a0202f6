"""Portkey: feedback on traces, one or many at once, and changes of it by id.

All feedback of a call is valid or all is rejected.  The ids are Afterword's.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson

from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import decoded, member_path
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Decision,
    Dialect,
    DialectCall,
    Item,
    ItemOutcome,
    ItemsRoute,
    LookupRoute,
    PastEvent,
    Reply,
    RouteDoc,
    StoredQuery,
    Submission,
    checked_id,
    member,
    number,
    receipts,
    required,
    submission,
)
from services.ingest.dialects.item_changes import RATER, items_with_id

LARGEST_VALUE = 10
LARGEST_WEIGHT = 1
"""Of feedback, as in Portkey; the smallest ones are -10 and 0."""


def read_items(call: DialectCall) -> list[Item]:
    """Return the items of one object or an array; raise Rejection if any is invalid."""
    body = decoded(call.body)
    if not isinstance(body, list):
        return [_item(call, body, 0, "")]
    return [_item(call, entry, index, f"[{index}]") for index, entry in enumerate(body)]


def _item(call: DialectCall, entry: Any, index: int, path: str) -> Item:
    trace = checked_id(required(entry, "trace_id", str, path), member_path(path, "trace_id"))
    required(entry, "value", object, path)
    feedback_id = new_id(call.headers.get(b"idempotency-key", call.nonce), trace, index)
    return Item(feedback_id, submission(trace, read(entry, path), item_id=feedback_id))


def new_id(seed: bytes, trace: str, index: int) -> str:
    """Return a UUIDv8 for feedback on a trace, at an index of a body.

    The seed is the Idempotency-Key of the request, so that a repeat gets the stored id, or else a nonce.
    """
    digits = sha256(b"%b\0%d\0%b" % (seed, index, trace.encode())).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"


def read(entry: Any, path: str = "") -> dict[str, Any]:
    """Return the `data` of feedback, without what it does not have; raise Rejection."""
    data = {
        "value": _within(entry, "value", -LARGEST_VALUE, LARGEST_VALUE, path),
        "weight": _within(entry, "weight", 0, LARGEST_WEIGHT, path),
    }
    metadata = dict(member(entry, "metadata", dict, path) or {})
    data[RATER] = metadata.pop("_user", None)
    if isinstance(metadata.get("comment"), str):
        data["comment"] = metadata.pop("comment")
    data["value_metadata"] = metadata or None
    return {name: value for name, value in data.items() if value is not None}


def _within(entry: Any, name: str, smallest: int, largest: int, path: str) -> Any:
    if member(entry, name, object, path) is None:
        return None
    value = number(entry, name, path)
    if isinstance(value, bool) or not smallest <= value <= largest:
        raise invalid(BodyFault(member_path(path, name), f"must be a number from {smallest} to {largest}"))
    return value


def answer_items(_call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the answer with the id of each item."""
    receipts(outcomes)
    return _success([outcome.id for outcome in outcomes])


def _success(ids: Sequence[str]) -> Reply:
    return Reply(200, orjson.dumps({"status": "success", "message": "", "feedback_ids": ids}))


def query(call: DialectCall) -> StoredQuery:
    """Return the query for the item that a change names; raise Rejection for an invalid change."""
    _changes(call)
    return StoredQuery(item_id=checked_id(call.request_id, "feedback_id"))


def _changes(call: DialectCall) -> dict[str, Any]:
    changes = read(decoded(call.body))
    if not changes:
        raise invalid(BodyFault("", "needs a value, a weight or metadata"))
    return changes


def decide(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Return the events that change an item; raise Rejection if none has the id."""
    items = items_with_id(stored, call.request_id)
    if not items:
        raise Rejection(Code.UNKNOWN_ITEM, f"no feedback has the id {call.request_id!r}; nothing was written")
    submissions: list[Submission] = []
    for item in items:
        submissions += item.changed(_changes(call))
    return Decision(_success([call.request_id]), submissions)


def problem(rejection: Rejection) -> Reply:
    """Return an error in the form that the SDKs show."""
    shown = {"status": "failure", "code": rejection.code, "error": {"message": rejection.detail}}
    return Reply(rejection.status, orjson.dumps(shown))


def fits(value: Any) -> bool:
    """Return whether a body is Portkey's: an array, or an object with `trace_id`."""
    return isinstance(value, list) or (isinstance(value, dict) and "trace_id" in value)


FEEDBACK = {"trace_id": "trace-1", "value": 5, "weight": 0.5, "metadata": {"_user": "u1"}}
ANSWER = {"status": "success", "message": "", "feedback_ids": ["018f0000-0000-8000-8000-000000000001"]}

DIALECT = Dialect(
    "portkey",
    (
        ItemsRoute(
            method="POST",
            path="/v1/feedback",
            read_items=read_items,
            answer_items=answer_items,
            fits=fits,
            looks_for="an array, or an object with `trace_id`",
            doc=RouteDoc("Give feedback on a trace, or on several", FEEDBACK, ANSWER),
        ),
        LookupRoute(
            method="PUT",
            path=f"/v1/feedback/{REQUEST_ID}",
            query=query,
            decide=decide,
            changes=True,
            doc=RouteDoc("Change feedback by its id", {"value": -5}, ANSWER),
        ),
    ),
    problem=problem,
)
