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


ITEM_IDS: dict[str, str | None] = {
    '"score 1"': "score 1",
    '"é/1"': "é/1",
    "null": "",
    '""': None,
    "7": None,
    '"a\\u0000"': None,
    r'"\ud800"': None,
    '"' + "x" * 256 + '"': "x" * 256,
    '"' + "x" * 257 + '"': None,
}
"""Values of `item_id`, and what the event has; None for a rejection."""

TIMES: dict[str, str | None] = {
    "null": "",
    '"2026-01-31T13:00:00.1234567+01:00"': "2026-01-31T12:00:00.123456Z",
    '"2026-01-31"': "2026-01-31T00:00:00Z",
    "1769860800": "2026-01-31T12:00:00Z",
    "1769860800.5": "2026-01-31T12:00:00.500000Z",
    '"1769860800123"': "2026-01-31T12:00:00.123000Z",
    "0": "1970-01-01T00:00:00Z",
    '"1969-12-31T23:59:59Z"': None,
    '"2100-01-01T00:00:00Z"': None,
    '"yesterday"': None,
    '""': None,
    "true": None,
    "-1": None,
    "1e400": None,
    "1" + "0" * 30: None,
    "[]": None,
}
"""Values of `at`, as `ITEM_IDS`."""

ABOUT = {
    name: {repr(json.loads(text)): kept for text, kept in known.items()}
    for name, known in (("item_id", ITEM_IDS), ("at", TIMES))
}
"""What the event has, by field and by `repr` of its value."""


events = st.builds(
    '{{"request_id":{}{}{}{}{}{}{}}}'.format,
    st.sampled_from(
        ['"r"', '"r"', '"r"', '""', "7", "null", r'"\u0007"', r'"\ud800"', '"' + "x" * 257 + '"']
    ),
    st.sampled_from(["", ',"op":"merge"', ',"op":"retract"', ',"op":"undo"', ',"op":null']),
    st.one_of(st.just(""), data.map(',"data":{}'.format)),
    st.one_of(st.just(""), data.map(',"request":{}'.format)),
    st.sampled_from(["", "", "", ',"extra":1']),
    st.one_of(st.just(""), st.sampled_from([f',"item_id":{text}' for text in ITEM_IDS])),
    st.one_of(st.just(""), st.sampled_from([f',"at":{text}' for text in TIMES])),
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
    if set(event) - {"request_id", "op", "data", "request", "item_id", "at"}:
        return None
    if op not in ("merge", "retract") or bool(carried) != (op == "merge"):
        return None
    about = {name: known[repr(event[name])] for name, known in ABOUT.items() if name in event}
    if None in about.values():
        return None
    kept = {name: text for name, text in about.items() if text}
    return {"request_id": request_id, "op": op, **carried, **kept}


@settings(max_examples=EXAMPLES)
@given(events.map(str.encode))
def test_native_events_are_accepted_exactly_when_the_rules_allow_them(body: bytes) -> None:
    """Ids, ops, and what may come together."""
    try:
        event = written(native.read_event(body))
        names = ("request_id", "op", "data", "request", "item_id", "at")
        found = {name: event[name] for name in names if name in event}
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
