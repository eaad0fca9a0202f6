"""LangSmith's presigned tokens: URLs by which feedback with one key is given on one run, without an API key.

A token is a random UUID, and is stored nowhere: its event is found by `item_id`, the SHA-256 of the token, so
that readers of stored events cannot use it.  The event has the fact `feedback_token` of the run.
All feedback by one token is one item: a later use changes it, so a mail program that opens every link of a
mail is corrected by the person who then follows one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from schemas.events import Op
from schemas.instants import instant_of, rfc3339
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import decoded
from services.ingest.dialects.dialect import (
    Decision,
    DialectCall,
    Item,
    ItemOutcome,
    PastEvent,
    Reply,
    StoredQuery,
    member,
    receipts,
    required,
    submission,
)
from services.ingest.dialects.langsmith_feedback import SOURCE, data_of, derived_uuid, query_of

FACT = "feedback_token"
"""The fact of a run that a token leaves: its key, its end, and the id of the feedback given by it."""

LIFETIME = timedelta(hours=3)
"""Of a token that is created without one."""

LONGEST_DAYS = 3660

FIELDS = ("score", "value", "comment", "correction")

PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%(title)b</title>
<body style="font: 1.1rem/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 30rem; padding: 0 1rem">
<h1>%(title)b</h1><p>%(text)b</p></body></html>
"""
THANKS = {b"title": b"Thank you", b"text": b"Your feedback has been stored. You can close this page."}
EXPIRED = {b"title": b"This link has expired", b"text": b"No feedback has been stored."}
UNKNOWN = {b"title": b"This link is not valid", b"text": b"No feedback has been stored."}
HTML = b"text/html; charset=utf-8"


class NewToken(NamedTuple):
    """A token that is created."""

    token: UUID
    run_id: str
    fact: dict[str, str]


def read_tokens(call: DialectCall) -> list[Item]:
    """Return an item for each token; raise Rejection."""
    return [
        Item("", submission(run_id, request={FACT: fact}, item_id=item_id_of(token)))
        for token, run_id, fact in _new_tokens(call)
    ]


def _new_tokens(call: DialectCall) -> list[NewToken]:
    body = decoded(call.body)
    if not isinstance(body, list):
        return [_new_token(call, body, 0, "")]
    return [_new_token(call, entry, index, f"[{index}]") for index, entry in enumerate(body)]


def _new_token(call: DialectCall, entry: Any, index: int, path: str) -> NewToken:
    run_id, key = (required(entry, name, str, path) for name in ("run_id", "feedback_key"))
    token = derived_uuid(call.nonce, b"token %d" % index)
    feedback_id = member(entry, "id", str, path) or str(derived_uuid(token.bytes, b"feedback"))
    submission(run_id, data_of(key, {"score": 1}, None, {}), item_id=feedback_id)  # or it could not be used
    expires_at = rfc3339(_expiry(entry, call.now, path))
    return NewToken(token, run_id, {"key": key, "expires_at": expires_at, "feedback_id": feedback_id})


def item_id_of(token: UUID) -> str:
    """Return the item id of a token's event."""
    return sha256(token.bytes).hexdigest()


def _expiry(entry: Mapping[str, Any], now: datetime, path: str) -> datetime:
    at, span = entry.get("expires_at"), member(entry, "expires_in", dict, path)
    if at is not None:
        found = instant_of(at)
        if found is None:
            raise invalid(BodyFault(f"{path}expires_at", "is no time from 1970 to 2099"))
        return found
    if not span:
        return now + LIFETIME
    try:
        lifetime = timedelta(**{unit: span.get(unit) or 0 for unit in ("days", "hours", "minutes")})
    except (TypeError, ValueError, OverflowError):
        lifetime = timedelta(-1)
    if not timedelta() <= lifetime <= timedelta(days=LONGEST_DAYS):
        detail = f"must be days, hours and minutes, together no more than {LONGEST_DAYS} days"
        raise invalid(BodyFault(f"{path}expires_in", detail))
    return now + lifetime


def answer_tokens(call: DialectCall, outcomes: Sequence[ItemOutcome]) -> Reply:
    """Return the URLs, in an array if the body was one."""
    receipts(outcomes)
    shown = [
        {
            "id": str(token),
            "url": f"{call.base_url}/feedback/tokens/{token}",
            "expires_at": fact["expires_at"],
        }
        for token, _, fact in _new_tokens(call)
    ]
    is_array = isinstance(decoded(call.body), list)
    return Reply(200, orjson.dumps(shown if is_array else shown[0]))


def token_of_call(call: DialectCall) -> StoredQuery:
    """Return which events to read for a token; raise Rejection for what no event can have."""
    body = decoded(call.body)
    member(body, "metadata", dict)
    data_of("key", body, None, {})
    return _query(call)


def token_of_link(call: DialectCall) -> StoredQuery:
    """Return which events to read for a link; raise Rejection for what no event can have.

    A link without a score, or anything else to store, reads nothing.
    """
    if not _linked(call):
        raise invalid(BodyFault("score", f"is missing: a link has at least one of {', '.join(FIELDS)}"))
    return _query(call)


def _query(call: DialectCall) -> StoredQuery:
    try:
        return StoredQuery(item_id=item_id_of(UUID(call.request_id)))
    except ValueError:
        raise Rejection(Code.UNKNOWN_ITEM, "The token is not valid") from None


def _linked(call: DialectCall) -> dict[str, Any]:
    """Return the fields of a link, with a number or a boolean as score; raise Rejection."""
    query = query_of(call)
    fields: dict[str, Any] = {name: query[name][-1] for name in FIELDS if name in query}
    if "score" in fields:
        try:
            fields["score"] = orjson.loads(fields["score"].lower())
        except orjson.JSONDecodeError:
            fields["score"] = None
        if not isinstance(fields["score"], int | float):
            raise invalid(BodyFault("score", "must be a number, true or false"))
    return fields


def use_token(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Store the feedback of a body."""
    body = decoded(call.body)
    reply = Reply(200, orjson.dumps({"message": "Feedback stored"}))
    return _use(call, stored, body, member(body, "metadata", dict) or {}, reply)


def use_link(call: DialectCall, stored: Sequence[PastEvent]) -> Decision:
    """Store the feedback of a link, and return a page for the person who followed it."""
    try:
        return _use(call, stored, _linked(call), {}, Reply(200, PAGE % THANKS, HTML))
    except Rejection as rejection:
        if rejection.code not in (Code.UNKNOWN_ITEM, Code.EXPIRED):
            raise
        page = PAGE % (UNKNOWN if rejection.code is Code.UNKNOWN_ITEM else EXPIRED)
        return Decision(Reply(rejection.status, page, HTML))


def _use(
    call: DialectCall,
    stored: Sequence[PastEvent],
    fields: Mapping[str, Any],
    metadata: Mapping[str, Any],
    reply: Reply,
) -> Decision:
    item_id = item_id_of(UUID(call.request_id))
    for event in stored:
        fact = event.request.get(FACT)
        if event.item_id == item_id and event.source == SOURCE and isinstance(fact, dict):
            break
    else:
        raise Rejection(Code.UNKNOWN_ITEM, "The token is not valid")
    if any(other.op is Op.ERASE and other.version > event.version for other in stored):
        raise Rejection(Code.UNKNOWN_ITEM, "The token is not valid")
    if call.now >= datetime.fromisoformat(fact["expires_at"]):
        raise Rejection(Code.EXPIRED, "The token has expired")
    data = data_of(fact["key"], fields, None, metadata)
    at = rfc3339(call.now)
    given = submission(event.request_id, data, item_id=fact["feedback_id"], at=at)
    return Decision(reply, [given], event.tenant)
