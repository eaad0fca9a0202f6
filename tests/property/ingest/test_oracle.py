"""What ingest accepts, against an oracle; and what is accepted comes out as the oracle read it."""

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.limits import MAX_EVENT_BYTES
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.event import event_bytes
from services.ingest.dialects import gptboost, native, requesty
from services.ingest.dialects.dialect import Submission
from tests.support.ingest.bodies import Refused, bodies, check, data, fields, read, spoiled

EXAMPLES = 400


def said(body: bytes) -> Any:
    """Return what Requesty's dialect must make of a body, or None."""
    try:
        value = read(body)
        if not isinstance(value, dict) or "data" not in value:
            return None
        return fields(value["data"])
    except (Refused, ValueError, RecursionError):
        return None


def taken(body: bytes) -> Any:
    """Return what the service makes of it: the data in the bytes that Kafka would get, or None."""
    try:
        return written(requesty.read("r", body))["data"]
    except Rejection as rejection:
        if rejection.code not in (Code.MALFORMED_JSON, Code.INVALID_FEEDBACK):
            raise
        return None


def written(submission: Submission) -> Any:
    """Return the event as any later stage reads it."""
    value = event_bytes("t", "s", submission, "e", "now", idempotent=False)
    assert len(value) <= MAX_EVENT_BYTES
    return orjson.loads(value)


@settings(max_examples=EXAMPLES)
@given(st.one_of(bodies, spoiled))
def test_requestys_bodies_are_accepted_exactly_when_the_rules_allow_them(body: bytes) -> None:
    """And come out of the event as they were meant; a number keeps its value, a list its order."""
    expected = said(body)

    assert json.dumps(taken(body)) == json.dumps(expected)


@settings(max_examples=EXAMPLES // 3)
@given(data)
def test_facts_are_judged_like_data(text: str) -> None:
    """The body of PUT is the object itself."""
    try:
        expected = fields(read(text.encode()))
    except (Refused, ValueError):
        expected = None
    try:
        found = written(native.read_facts("r", text.encode()))["request"]
    except Rejection:
        found = None

    assert json.dumps(found) == json.dumps(expected)


events = st.builds(
    '{{"request_id":{}{}{}{}{}}}'.format,
    st.sampled_from(
        ['"r"', '"r"', '"r"', '""', "7", "null", r'"\u0007"', r'"\ud800"', '"' + "x" * 257 + '"']
    ),
    st.sampled_from(["", ',"op":"merge"', ',"op":"retract"', ',"op":"undo"', ',"op":null']),
    st.one_of(st.just(""), data.map(',"data":{}'.format)),
    st.one_of(st.just(""), data.map(',"request":{}'.format)),
    st.sampled_from(["", "", "", ',"extra":1']),
)


def meant(body: bytes) -> Any:
    """Return the event that the native dialect must make of a body, or None."""
    try:
        event = read(body)
        request_id, op = event["request_id"], event.get("op", "merge")
        check(request_id, 1)
        if not isinstance(request_id, str) or not 1 <= len(request_id) <= 256 or "\x07" in request_id:
            return None
        carried = {name: fields(event[name]) for name in ("data", "request") if event.get(name) is not None}
    except (Refused, ValueError):
        return None
    if set(event) - {"request_id", "op", "data", "request"} or op not in ("merge", "retract"):
        return None
    return None if bool(carried) != (op == "merge") else {"request_id": request_id, "op": op, **carried}


@settings(max_examples=EXAMPLES)
@given(events.map(str.encode))
def test_native_events_are_accepted_exactly_when_the_rules_allow_them(body: bytes) -> None:
    """Ids, ops, and what may come together."""
    try:
        event = written(native.read_event(body))
        found = {name: event[name] for name in ("request_id", "op", "data", "request") if name in event}
    except Rejection:
        found = None

    assert json.dumps(found) == json.dumps(meant(body))


votes = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.one_of(st.just("m"), st.just("m"), st.sampled_from(["", "\n", 5, None])),
        "rating": st.sampled_from(
            ["positive", "negative", "amazing", "amazing", "Positive", 5, None, ["positive"]]
        ),
        "comment": st.sampled_from(["", "text", None, 5, "ü"]),
        "tags": st.sampled_from([[], ["a"], None, "a", ["a", 5], {}, ["", "b"]]),
        "extra": st.sampled_from([1, None, {"a": [1]}, 2**64]),
    },
)


@settings(max_examples=EXAMPLES // 3)
@given(votes)
def test_votes_are_accepted_exactly_when_the_rules_allow_them(vote: dict[str, Any]) -> None:
    """Two required fields, three words; an empty comment and empty tags mean absent."""
    valid = (
        vote.get("message_id") == "m"
        and vote.get("rating") in ("positive", "negative", "amazing")
        and isinstance(vote.get("comment", ""), str | None)
        and all(isinstance(tag, str) for tag in vote.get("tags") or [])
        and isinstance(vote.get("tags", []), list | None)
        and vote.get("extra") != 2**64
    )
    expected = {
        name: value
        for name, value in vote.items()
        if name != "message_id" and (value or name not in ("comment", "tags"))
    }
    try:
        found = written(gptboost.read("", json.dumps(vote).encode()))["data"]
    except Rejection:
        found = None

    assert found == (expected if valid else None)
