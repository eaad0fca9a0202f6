"""LangSmith's feedback: created, and read, listed, changed and deleted by its id.

A score, or the value if there is none, is the key of its name in `data`.  A value beside a score, a
correction and metadata have keys that start with the name: `<name>_value`, `<name>_correction` and
`<name>_metadata`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson

from schemas.instants import instant_of
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects.dialect import (
    RESERVED,
    Decision,
    DialectCall,
    Item,
    ItemOutcome,
    PastEvent,
    Reply,
    StoredQuery,
    Submission,
    member,
    receipts,
    required,
    score_key,
    submission,
)
from services.ingest.dialects.item_changes import RATER, StoredItem, items_with_id, stored_items

SOURCE = "langsmith"
"""Of events that clients of LangSmith sent."""

COMMENT = "comment"

VALUE, CORRECTION, METADATA = "_value", "_correction", "_metadata"
"""Ends of the keys that belong to a name."""

OWN_FIELDS = (
    *("id", "run_id", "trace_id", "key", "score", "value", "comment", "correction", "feedback_source"),
    *("created_at", "modified_at", "session_id", "start_time", "extend_trace_retention"),
)
"""Fields of feedback that are not stored as its metadata."""

MOST_LISTED = 100
"""Entries of a page, as in LangSmith."""


def read_feedback(call: DialectCall) -> list[Item]:
    """Return the item of one piece of feedback; raise Rejection."""
    body = decoded(call.body)
    feedback_id = member(body, "id", str) or str(derived_uuid(call.nonce, b"feedback"))
    return [Item(feedback_id, feedback(body, feedback_id))]


def feedback(body: Any, feedback_id: str = "") -> Submission:
    """Return the submission of feedback as LangSmith's SDK has it; raise Rejection.

    `feedback_id` counts if it has none.
    """
    source = member(body, "feedback_source", dict) or {}
    metadata = dict(member(source, "metadata", dict, "feedback_source") or {})
    rater = _rater(source, metadata)
    kind = source.get("type", "api")
    more = {name: value for name, value in body.items() if name not in OWN_FIELDS}
    if kind != "api":
        more["type"] = kind
    request_id = member(body, "run_id", str)
    trace_id = member(body, "trace_id", str)
    if request_id is None:
        request_id = trace_id
    elif trace_id is not None:
        more["trace_id"] = trace_id
    if request_id is None:
        raise invalid(BodyFault("run_id", "is missing: feedback on a project is not stored"))
    metadata |= {name: value for name, value in more.items() if value is not None}
    data = data_of(required(body, "key", str), body, rater, metadata)
    item_id = member(body, "id", str) or feedback_id
    return submission(request_id, data, item_id=item_id, at=body.get("created_at"))


def _rater(source: Mapping[str, Any], metadata: dict[str, Any]) -> Any:
    """Return who gave the feedback, and take them out of the metadata; None if unknown."""
    named = source.get("user_id")
    for name in ("user_id", "user"):
        if named is None and isinstance(metadata.get(name), str | int):
            named = metadata.pop(name)
    return named


def data_of(
    name: str, feedback: Mapping[str, Any], rater: Any, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the `data` of feedback that has score, value, comment and correction as LangSmith names them."""
    data = _scored(name, feedback.get("score"), feedback.get("value"))
    data[COMMENT] = member(feedback, "comment", str)
    data[RATER] = rater
    data[name + CORRECTION] = feedback.get("correction")
    data = {key: value for key, value in data.items() if value is not None}
    if metadata or name in RESERVED or name not in data or name.endswith(METADATA):  # so that it can be read
        data[name + METADATA] = dict(metadata)
    return data


def _scored(name: str, score: Any, value: Any) -> dict[str, Any]:
    key = score_key(name)
    return {key: value, name + VALUE: None} if score is None else {key: score, name + VALUE: value}


def name_in(data: Mapping[str, Any]) -> str:
    """Return the name of the score that `data_of` made this of."""
    keys = sorted((key for key in data if key not in RESERVED), key=len)
    names = [key.removesuffix(METADATA) for key in keys if key.endswith(METADATA)]
    if names and (names[-1] in RESERVED or names[-1] not in data):
        return names[-1]
    return keys[0] if keys else ""


def shown(
    feedback_id: str,
    run_id: str,
    name: str,
    data: Mapping[str, Any],
    created_at: datetime,
    modified_at: datetime,
) -> dict[str, Any]:
    """Return feedback as LangSmith's API shows it, from the `data` of its item."""
    score, value = _parts(name, data)
    metadata = dict(data.get(name + METADATA) or {})
    return {
        "id": feedback_id,
        "created_at": created_at.isoformat(),
        "modified_at": modified_at.isoformat(),
        "run_id": run_id,
        "trace_id": metadata.pop("trace_id", None),
        "key": name,
        "score": score,
        "value": value,
        "comment": data.get(COMMENT),
        "correction": data.get(name + CORRECTION),
        "feedback_source": {
            "type": metadata.pop("type", "api"),
            "metadata": metadata,
            "user_id": data.get(RATER),
        },
    }


def _shown_item(item: StoredItem) -> dict[str, Any]:
    created_at, modified_at = (event.at or event.received_at for event in (item.first, item.last))
    first = item.first
    return shown(first.item_id, first.request_id, name_in(first.data), item.data, created_at, modified_at)


def _parts(name: str, data: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the score and the value of a name."""
    first = data.get(score_key(name))
    second = data.get(name + VALUE)
    return (first, second) if isinstance(first, int | float) else (None, first)


def answer_feedback(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the feedback that was created."""
    receipts(outcomes)
    (item,) = read_feedback(call)
    assert isinstance(item.content, Submission)  # noqa: S101 (it was published)
    request_id, data = item.content.request_id, item.content.data or {}
    created_at = instant_of(item.content.at or None) or call.now
    return Reply(200, orjson.dumps(shown(item.id, request_id, name_in(data), data, created_at, created_at)))


def by_id(call: DialectCall) -> StoredQuery:
    """Return which events to read for one piece of feedback; raise Rejection."""
    return StoredQuery(item_id=_feedback_id(call))


def by_id_to_change(call: DialectCall) -> StoredQuery:
    """Return which events to read for a change; raise Rejection."""
    _change(call)  # before anything is read
    return by_id(call)


def _feedback_id(call: DialectCall) -> str:
    if not call.request_id:
        raise Rejection(Code.UNKNOWN_ITEM, "Feedback not found")
    return call.request_id


def _found(call: DialectCall, stored: Sequence[PastEvent]) -> list[StoredItem]:
    found = [item for item in items_with_id(stored, call.request_id) if item.first.source == SOURCE]
    if not found:
        raise Rejection(Code.UNKNOWN_ITEM, f"Feedback {call.request_id} not found")
    return found


def show(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Return one piece of feedback."""
    return Decision(Reply(200, orjson.dumps(_shown_item(_found(call, stored)[0]))))


def _change(call: DialectCall) -> dict[str, Any]:
    body = decoded(call.body)
    member(body, "comment", str)
    return dict(body)


def change(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Change the fields that the body names; null clears one."""
    body = _change(call)
    found, submissions = _found(call, stored), []
    for item in found:
        name = name_in(item.first.data)
        changes: dict[str, Any] = {}
        if "score" in body or "value" in body:
            score, value = _parts(name, item.data)
            changes |= _scored(name, body.get("score", score), body.get("value", value))
        if COMMENT in body:
            changes[COMMENT] = body[COMMENT]
        if "correction" in body:
            changes[name + CORRECTION] = body["correction"]
        submission(item.first.request_id, changes)
        submissions += item.changed(changes)
    return Decision(Reply(200, orjson.dumps({"message": "Feedback updated"})), submissions)


def delete(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Delete one piece of feedback."""
    submissions = [one for item in _found(call, stored) for one in item.deleted()]
    return Decision(Reply(200, orjson.dumps({"message": "Feedback deleted"})), submissions)


def of_runs(call: DialectCall) -> StoredQuery:
    """Return which events to read for a list; raise Rejection."""
    runs = query_of(call).get("run")
    if not runs:
        raise invalid(BodyFault("run", "is missing: feedback is listed by the ids of its runs"))
    return StoredQuery(request_ids=runs)


def listed(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Return a page of the feedback on runs, newest first."""
    query = query_of(call)
    limit, offset = _number(query, "limit", MOST_LISTED), _number(query, "offset", 0)
    entries = [_shown_item(item) for item in stored_items(stored) if item.first.source == SOURCE]
    keys, kinds = query.get("key"), query.get("source")
    entries = [
        entry
        for entry in entries
        if (keys is None or entry["key"] in keys)
        and (kinds is None or entry["feedback_source"]["type"] in kinds)
    ]
    entries.sort(key=lambda entry: (entry["created_at"], entry["id"]), reverse=True)
    return Decision(Reply(200, orjson.dumps(entries[offset : offset + min(limit, MOST_LISTED)])))


def query_of(call: DialectCall) -> dict[str, list[str]]:
    """Return the parameters of a call; raise Rejection."""
    try:
        return parse_qs(call.query, max_num_fields=1000)
    except ValueError:
        raise invalid(BodyFault("", "has more than 1000 parameters")) from None


def _number(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid(BodyFault(name, "must be a whole number from 0"))
    return int(text)


def derived_uuid(secret: bytes, purpose: bytes) -> UUID:
    """Return a UUID that only those who know the secret can derive: as random as the secret."""
    return UUID(bytes=sha256(purpose + b"\0" + secret).digest()[:16], version=4)


def fits(value: Any) -> bool:
    """Return whether a body is LangSmith's feedback, and not another system's."""
    return isinstance(value, dict) and "key" in value
