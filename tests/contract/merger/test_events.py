"""The merger's quick decoder and the schema's model take the same events."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import schemas
from schemas.events import FeedbackEvent
from schemas.identity import event_key
from services.merger.core import state as states
from services.merger.core.events import Poison, decode
from tests.support.merger.records import an_event, events

EXAMPLES = sorted((Path(schemas.__file__).parent / "examples").glob("feedback-event.v1.*.json"))
STATES = sorted(Path(__file__).parent.glob("states/*.json"))

WRONG: list[Any] = [None, 0, "", "x", [], {}, True, "2026-11-22T08:00:00Z"]


def taken(event: dict[str, Any]) -> tuple[bool, bool]:
    """Return whether the decoder takes an event, and whether the model does."""
    text = json.dumps(event)
    try:
        decode(event_key(str(event.get("tenant")), str(event.get("request_id"))), text.encode())
        quick = True
    except Poison:
        quick = False
    try:
        FeedbackEvent.model_validate_json(text, strict=True)
        slow = True
    except ValidationError:
        slow = False
    return quick, slow


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_taken(example: Path) -> None:
    """By both."""
    assert taken(json.loads(example.read_text())) == (True, True)


@given(events())
def test_events_are_taken_by_both(event: dict[str, Any]) -> None:
    """Whatever keys and values they carry."""
    assert taken(event) == (True, True)


@given(st.sampled_from(sorted(FeedbackEvent.model_fields)), st.sampled_from([*WRONG, ...]))
def test_a_field_of_another_type_is_refused_by_both_or_by_none(name: str, value: Any) -> None:
    """Missing ones too.  Tenants and request ids are checked with the key."""
    event = an_event(data={"a": 1}) | {name: value}
    if value is ...:
        del event[name]
    if name in ("tenant", "request_id") and isinstance(value, str):
        return
    quick, slow = taken(event)

    assert quick == slow


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\n"}',
        b'{"a":NaN}',
        b"{" + b'"a":[' * 2_000 + b"]" * 2_000 + b"}",
    ],
)
def test_what_raw_values_could_smuggle_in_is_poison(value: bytes) -> None:
    """Values pass through undecoded, so these are looked for."""
    text = json.dumps(an_event(data={"x": 1})).encode().replace(b'{"x": 1}', value)

    with pytest.raises(Poison):
        decode(b"default/r1", text)


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_rows_of_earlier_releases_are_read(path: Path) -> None:
    """They stay in the state topic for ever, and are written again to the byte."""
    row = path.read_bytes().strip()

    assert states.encode(states.decode(row)) == row
