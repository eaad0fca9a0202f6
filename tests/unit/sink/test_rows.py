"""How records become rows."""

from base64 import b64decode
from dataclasses import replace
from typing import Any

import orjson
import pytest

from schemas.deadletters import REPLAY_VERSION_HEADER, headers_of
from schemas.identity import event_key, version_of
from services.sink.core.rows import MalformedRowError, dead_letter_line, event_line, state_line
from tests.support.sink.doubles import EVENT, KEY, LETTER, NOT_EVENTS, FakeRecord, event, letter, state


def row(line: bytes | None) -> dict[str, Any]:
    """Return what a line says."""
    assert line is not None
    found: dict[str, Any] = orjson.loads(line)
    return found


def test_a_state_is_passed_through_unread_behind_its_revision() -> None:
    """Whatever the merger wrote stays byte for byte."""
    record = replace(state(), value=b'{"tenant":"t", "data": {"a": 1.50,"a":2}}', offset=5)

    assert state_line(record, 2) == b'{"revision":%d,"tenant":"t", "data": {"a": 1.50,"a":2}}' % version_of(
        2, 5
    )


def test_a_null_value_becomes_a_row_that_hides_its_request() -> None:
    """A tombstone of the compacted topic carries nothing but its key."""
    line = state_line(FakeRecord(None, event_key("acme", "chat/1"), 9), 0)

    assert row(line) == {"revision": 9, "is_deleted": 1, "tenant": "acme", "request_id": "chat/1"}


@pytest.mark.parametrize("value", [b"", b"null", b"[1]", b'"{}"', b"{}", b'{"a":1', b' {"a":1}'])
def test_a_state_that_is_no_object_is_malformed(value: bytes) -> None:
    """A revision can only be put in front of the first field of an object."""
    with pytest.raises(MalformedRowError, match="not a JSON object"):
        state_line(FakeRecord(value), 0)


def test_a_state_under_another_requests_key_replaces_no_row() -> None:
    """Whatever the names are; one that says nothing is left to ClickHouse, which refuses it."""
    own = b'{"tenant":"t","request_id":"1","version":3}'
    assert state_line(FakeRecord(own, b"t/1"), 0)
    with pytest.raises(MalformedRowError, match="another request's"):
        state_line(FakeRecord(own, b"t/2"), 0)
    odd = orjson.dumps({"version": 3, "request_id": '"é', "tenant": "t"})
    assert state_line(FakeRecord(odd, 't/"é'.encode()), 0)
    assert state_line(FakeRecord(b'{"tenant":}', b"t/1"), 0)


@pytest.mark.parametrize("key", [None, b"", b"no-slash", b"BAD/1", b"t/\xff"])
def test_a_null_value_without_a_key_of_ours_is_malformed(key: bytes | None) -> None:
    """Nobody can tell which request it hides."""
    with pytest.raises(MalformedRowError, match="key is not <tenant>/<request_id>"):
        state_line(FakeRecord(None, key), 0)


def test_an_event_becomes_a_row_of_its_history() -> None:
    """Its place in the order and where it stands are the same unless it was replayed."""
    place = version_of(2, 7)

    assert row(event_line(event(idempotent=True), 2)) == {
        "tenant": "acme",
        "request_id": "chat/1",
        "version": place,
        "event_id": EVENT["event_id"],
        "op": "merge",
        "source": "native",
        "received_at": "2026-11-22T08:00:00.123456Z",
        "appended_at": "2026-09-21T14:13:20.123+00:00",
        "log_partition": 3,
        "log_offset": place,
        "idempotent": True,
        "data": {"rating": 5, "ü": [1e-05]},
        "request": {},
    }


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        (
            {"item_id": "score/é 1", "at": "2026-11-22T09:00:00.25+01:00"},
            {"item_id": "score/é 1", "at": "2026-11-22T08:00:00.250000Z"},
        ),
        ({"item_id": "x" * 256}, {"item_id": "x" * 256}),
        ({"at": "2099-12-31T23:59:59.999999Z"}, {"at": "2099-12-31T23:59:59.999999Z"}),
        ({"item_id": "x" * 257, "at": "2100-01-01T00:00:00Z"}, {}),
        ({"item_id": "", "at": "yesterday"}, {}),
        ({"item_id": "a\u0000", "at": 5}, {}),
        ({"item_id": 5, "at": ["2026-11-22T08:00:00Z"]}, {}),
    ],
)
def test_an_item_id_and_a_time_are_stored_if_they_are_usable(
    fields: dict[str, Any], columns: dict[str, Any]
) -> None:
    """No value of theirs keeps the event out of the table: the feedback beside them counts."""
    plain = row(event_line(event(), 0))

    assert row(event_line(event(**fields), 0)) == {**plain, **columns}


def test_the_feedback_of_an_event_keeps_its_bytes() -> None:
    """Numbers and spaces are the client's; rewriting them is nobody's business here."""
    record = replace(
        event(), value=orjson.dumps({**EVENT, "data": {}}).replace(b'"data":{}', b'"data":{"a": 1.50}')
    )

    assert b'"data":{"a": 1.50}' in (event_line(record, 0) or b"")


def test_a_replayed_event_keeps_its_first_place_in_the_order() -> None:
    """The row of the event that it repeats is replaced, since it stands later in the log."""
    found = row(event_line(event(offset=90, headers=[(REPLAY_VERSION_HEADER, b"12")]), 0))

    assert (found["version"], found["log_offset"]) == (12, 90)


@pytest.mark.parametrize("version", [b"", b"x", b"-1", b"1_0", b" 1", b"90", b"91", b"9" * 30])
def test_an_event_with_a_version_that_no_replay_has_is_omitted(version: bytes) -> None:
    """The merger gives it up as an invalid replay."""
    assert event_line(event(offset=90, headers=[(REPLAY_VERSION_HEADER, version)]), 0) is None


@pytest.mark.parametrize("changes", NOT_EVENTS)
def test_what_is_no_event_is_omitted(changes: dict[str, Any]) -> None:
    """The merger gives it up, once, with its reason; the sink must not do so as well."""
    assert event_line(event(**changes), 0) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"null", b"{", b"\xff", b'{"event_id":1e999}', b"[" * 100_000, b'"\xff"']
)
def test_no_bytes_can_stop_the_events_route(value: bytes | None) -> None:
    """Whatever stands in the topic is a row or left out."""
    assert event_line(FakeRecord(value), 0) is None


def test_a_retract_has_no_fields() -> None:
    """The table's columns are whole objects all the same."""
    found = row(event_line(event(op="retract", data=None), 0))

    assert (found["op"], found["data"], found["request"]) == ("retract", {}, {})


def test_a_dead_letter_keeps_every_byte_and_reports_why() -> None:
    """Base64 carries what JSON cannot."""
    everything = bytes(range(256))

    found = row(dead_letter_line(letter(everything), 0))

    assert b64decode(found.pop("raw_base64")) == everything
    assert b64decode(found.pop("key_base64")) == KEY
    assert found == {
        "dlq_topic": "feedback-events-dlq",
        "dlq_partition": 0,
        "dlq_offset": 4,
        "tenant": "acme",
        "request_id": "chat/1",
        "stage": "merger",
        "reason": "malformed_event",
        "detail": "not an event: ü",
        "original_topic": "feedback-events",
        "original_partition": 3,
        "original_offset": 17,
        "original_version": 17,
        "failed_at": "2026-11-22T08:00:00+00:00",
        "updated": "2026-09-21T14:13:20.123+00:00",
    }


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x", b"\xff")],
        headers_of(replace(LETTER, failed_at="soon")),
        headers_of(replace(LETTER, original_partition=-1)),
        headers_of(replace(LETTER, original_offset=2**70)),
        headers_of(replace(LETTER, original_version=2**64)),
        [*headers_of(LETTER)[1:], ("afterword-stage", b"elsewhere")],
        [*headers_of(LETTER)[1:], ("afterword-original-offset", None)],
    ],
)
def test_a_dead_letter_with_other_headers_is_shown_all_the_same(headers: Any) -> None:
    """Nothing vanishes, whoever wrote it: the row says that its headers are none of ours."""
    found = row(dead_letter_line(letter(None, b"\xff/", headers), 0))

    assert (found["tenant"], found["raw_base64"]) == ("", None)
    assert found["detail"].startswith("headers that are not Afterword's")
    assert found["failed_at"] == found["updated"]
