"""Bodies that people write to take the place of an event that was refused."""

import json
from typing import Any

import pytest

from schemas.deadletters import Reason
from services.operations.dlq.core.decisions import UnfitError, corrected
from tests.support.merger.records import an_event, an_event_id
from tests.support.operations.dead_letters import a_letter

KEY = b"default/r1"


def body(**changes: Any) -> bytes:
    """Return an event of `default/r1` as a person would write it."""
    return json.dumps(an_event(1, **changes), indent=2).encode()


def test_a_body_is_written_as_ingest_would() -> None:
    """Without white space, the last of duplicate keys."""
    value = corrected(a_letter(), KEY, b"{", body(data={"a": 1}).replace(b'"a": 1', b'"a": 1, "a": 2.50'))

    assert json.loads(value) == an_event(1, data={"a": 2.5})
    assert b" " not in value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"{", "line 1"),
        (b"[]", "must be an object"),
        (b"\xff", "not UTF-8"),
        (body(data={"a": 1}).replace(b"1\n", b"1e999\n"), "data.a is a number too large"),
        (body(data={"a": 1}).replace(b"1\n", b"18446744073709551616\n"), "data.a is an integer outside"),
        (body(data={"a": 1}).replace(b"1\n", b"NaN\n"), "NaN is not JSON"),
        (body(data={"": 1}), "is a key of 0 characters"),
        (body(source="\ud800"), "half of a surrogate pair"),
        (body(data={"a": "x" * (512 << 10)}), "at most 524,288"),
        (body(request_id="r2"), "key and body disagree"),
        (body(tenant="acme"), "key and body disagree"),
        (body(event_id="7"), "not an event"),
        (body(received_at="yesterday"), "not an event"),
        (body(op="erase"), "an erase event cannot replace another event"),
    ],
)
def test_what_ingest_would_not_accept_is_refused(given: bytes, said: str) -> None:
    """No later stage expects it, and a place belongs to one request."""
    with pytest.raises(UnfitError) as refused:
        corrected(a_letter(), KEY, b"{", given)

    assert said in str(refused.value)


def test_a_conflict_needs_another_event_id() -> None:
    """The first body has this one."""
    letter = a_letter(reason=Reason.IDEMPOTENCY_CONFLICT)

    with pytest.raises(UnfitError, match="use another one"):
        corrected(letter, KEY, body(data={"a": 1}), body(data={"a": 2}))
    assert corrected(letter, KEY, body(), body(event_id=an_event_id(2)))
