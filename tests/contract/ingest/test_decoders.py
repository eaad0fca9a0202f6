"""The documented models and the decoders that run agree on what may be sent."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from schemas.events import FeedbackEvent
from services.ingest.core.errors import MEANINGS, Code, Rejection
from services.ingest.core.event import event_bytes
from services.ingest.dialects import gptboost, native, requesty
from services.ingest.documentation import Event, FeedbackBody, Vote
from tests.support.ingest.bodies import Refused, data, read

EXAMPLES = 200


def allowed(model: type[BaseModel], value: Any) -> bool:
    """Return whether a documented model takes a value as it stands, without converting it."""
    try:
        model.model_validate(value, strict=True)
    except ValidationError:
        return False
    return True


def accepted(reader: Any, body: bytes) -> bool:
    """Return whether the service takes a body."""
    try:
        written = event_bytes(
            "t", "native", reader(body), "00000000-0000-7000-8000-000000000000", NOW, idempotent=True
        )
    except Rejection:
        return False
    FeedbackEvent.model_validate_json(written)
    return True


EVENT_ID = "00000000-0000-7000-8000-000000000000"
NOW = "2026-01-02T03:04:05.000006Z"
values = data.map(str.encode)


def value_of(body: bytes) -> Any:
    """Return what a body is, or the body itself when it is no JSON: no model takes bytes."""
    try:
        return read(body)
    except (Refused, ValueError):
        return body


@settings(max_examples=EXAMPLES)
@given(values.map(lambda text: b'{"data":%b}' % text))
def test_feedback_bodies(body: bytes) -> None:
    """Requesty's."""
    assert accepted(lambda sent: requesty.read("r", sent), body) == allowed(FeedbackBody, value_of(body))


@settings(max_examples=EXAMPLES)
@given(
    values,
    values,
    st.sampled_from([b"", b',"op":"merge"', b',"op":"retract"', b',"op":"nonsense"', b',"x":1']),
    st.sampled_from(
        [b"", *(b',"item_id":%b' % text for text in (b'"s"', b'""', b"null", b"7", b'"\\u0000"'))]
    ),
    st.sampled_from(
        [b"", *(b',"at":%b' % text for text in (b'"2026-01-31"', b"1e9", b"null", b"true", b'"x"'))]
    ),
)
def test_native_events(feedback: bytes, facts: bytes, more: bytes, item_id: bytes, at: bytes) -> None:
    """All but the rule that a merge carries something and the others nothing, which the text tells."""
    body = b'{"request_id":"r","data":%b,"request":%b%b%b%b}' % (feedback, facts, more, item_id, at)
    value = value_of(body)
    carries = isinstance(value, dict) and (value["data"] is not None or value["request"] is not None)
    coherent = isinstance(value, dict) and carries == (value.get("op", "merge") == "merge")

    assert accepted(native.read_event, body) == (coherent and allowed(Event, value))


@given(
    st.fixed_dictionaries(
        {
            "message_id": st.sampled_from(["m", "", "\n", 5]),
            "rating": st.sampled_from(["positive", "good", None]),
        },
        optional={
            "comment": st.sampled_from(["", "x", None, 5]),
            "tags": st.sampled_from([[], ["a"], None, [5], "a"]),
            "extra": st.just({"a": [1]}),
        },
    )
)
def test_votes(vote: dict[str, Any]) -> None:
    """GPTBoost's."""
    body = json.dumps(vote).encode()

    assert accepted(lambda sent: gptboost.read("", sent), body) == allowed(Vote, vote)


def test_every_code_has_its_meaning() -> None:
    """One closed list: those that design names, and the few that HTTP itself needs."""
    assert set(MEANINGS) == set(Code)
    assert {code.value: meaning.status for code, meaning in MEANINGS.items()} == {
        "malformed_json": 400,
        "unauthenticated": 401,
        "forbidden": 403,
        "unknown_request": 404,
        "unknown_item": 404,
        "expired": 410,
        "not_found": 404,
        "method_not_allowed": 405,
        "request_timeout": 408,
        "too_large": 413,
        "unsupported_media_type": 415,
        "invalid_feedback": 422,
        "rate_limited": 429,
        "internal_error": 500,
        "log_unavailable": 503,
        "overloaded": 503,
        "lookup_unavailable": 503,
    }
