"""What a replay does with a dead letter, case by case."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.deadletters import REPLAY_VERSION_HEADER, Reason
from schemas.identity import partition_of, version_of
from schemas.tables import FEEDBACK_EVENTS, FEEDBACK_STATE
from services.operations.dlq.core.dead_letter import DeadLetterContent, DeadLetterId, StoredDeadLetter
from services.operations.dlq.core.decisions import (
    Decision,
    InsertRow,
    KnownVersion,
    ReplayContext,
    SendEvent,
    SkipReplay,
    decide_replay,
    is_taken,
    own_id,
)
from tests.support.merger.records import an_event
from tests.support.operations.dead_letters import FAILED_AT, a_letter
from tests.support.sink.doubles import EVENT, KEY, state

R1 = b"default/r1"
HOME = partition_of(R1, 4)
GROUND = ReplayContext(generation=0, partitions={0: 4}, kept_since=FAILED_AT - timedelta(days=89))


def value_of(**changes: Any) -> bytes:
    """Return the bytes of an event of `default/r1`."""
    return json.dumps(an_event(7, **changes)).encode()


def a_merger_letter(**changes: Any) -> StoredDeadLetter:
    """Return a letter whose event stood where its key belongs."""
    return a_letter(**{"original_partition": HOME, **changes})


def decided(
    letter: StoredDeadLetter,
    content: DeadLetterContent | None = None,
    ground: ReplayContext = GROUND,
    **changes: Any,
) -> Decision:
    """Return the decision on an ordinary event, unless it is said otherwise."""
    return decide_replay(
        letter, content or DeadLetterContent(R1, value_of(data={"a": 1})), replace(ground, **changes)
    )


def why(decision: Decision) -> str:
    """Return why nothing is done."""
    assert isinstance(decision, SkipReplay)
    return decision.why


def test_an_event_goes_back_as_it_was_with_its_version() -> None:
    """Same key, same bytes, the partition of its key, and the header that gives it its place."""
    found = decided(a_merger_letter())

    assert isinstance(found, SendEvent)
    assert (found.key, found.value, found.partition) == (R1, value_of(data={"a": 1}), HOME)
    assert found.headers == [(REPLAY_VERSION_HEADER, b"7")]


def test_an_event_of_an_older_generation_keeps_its_version_and_goes_where_its_key_lives_now() -> None:
    """Partitions may be others there; versions continue growing over generations."""
    found = decided(a_merger_letter(), ground=ReplayContext(generation=2, partitions={0: 4, 2: 12}))

    assert isinstance(found, SendEvent)
    assert (found.partition, found.version) == (partition_of(R1, 12), 7)


@pytest.mark.parametrize(
    ("letter", "content", "said"),
    [
        (a_merger_letter(stage="", original_version=None), None, "not Afterword's"),
        (a_merger_letter(original_version=None), None, "lack the offset in the events topic"),
        (a_merger_letter(original_topic="feedback-state"), None, "lack the offset in the events topic"),
        (a_merger_letter(original_topic="orders-v3"), None, "lack the offset in the events topic"),
        (a_merger_letter(reason=Reason.INVALID_REPLAY), None, "its position is unknown"),
        (a_merger_letter(), DeadLetterContent(b"no slash", value_of()), "names no request"),
        (a_merger_letter(), DeadLetterContent(b"", value_of()), "names no request"),
        (a_merger_letter(original_partition=HOME + 1), None, "not that of its request"),
        (a_merger_letter(original_topic="feedback-events-v7"), None, "not that of its request"),
        (a_merger_letter(), DeadLetterContent(R1, None), "no value"),
        (a_merger_letter(), DeadLetterContent(R1, b"{"), "refused again: not an event"),
        (a_merger_letter(), DeadLetterContent(R1, value_of(request_id="r2")), "key and body disagree"),
        (a_merger_letter(reason=Reason.CRASHED), None, "crashed the merger"),
        (a_merger_letter(reason=Reason.IDEMPOTENCY_CONFLICT), None, "--as-new-events"),
        (a_merger_letter(failed_at=FAILED_AT - timedelta(days=89)), None, "older than the topics"),
        (
            a_merger_letter(),
            DeadLetterContent(R1, value_of(received_at="2026-08-01T00:00:00Z")),
            "older than the topics",
        ),
    ],
)
def test_letters_without_a_place_or_that_would_return_are_skipped(
    letter: StoredDeadLetter, content: DeadLetterContent | None, said: str
) -> None:
    """Each with its reason, before anything is done."""
    assert said in why(decided(letter, content))


def test_what_came_back_gives_way_to_its_latest_try() -> None:
    """One place in the order has one dead letter that counts, and the age of the first one."""
    latest = DeadLetterId("feedback-events-dlq", 0, 5)
    places = {("default", "r1", 7): KnownVersion(latest, FAILED_AT)}
    old = {("default", "r1", 7): KnownVersion(latest, FAILED_AT - timedelta(days=200))}

    assert f"came back as {latest}" in why(decided(a_merger_letter(), places=places))
    assert isinstance(decided(a_merger_letter(id=latest), places=places), SendEvent)
    assert "older than the topics" in why(decided(a_merger_letter(id=latest), places=old))


def test_a_place_is_taken_once_a_later_record_brought_an_event_to_it() -> None:
    """The letter's own record is none of those, be it a replay that was refused."""
    came_back = a_merger_letter(original_offset=19)

    assert not is_taken(a_merger_letter(), None)
    assert not is_taken(a_merger_letter(), 7)
    assert is_taken(a_merger_letter(), 19)
    assert not is_taken(came_back, 19)
    assert is_taken(came_back, version_of(2, 0))


def test_letters_before_an_erase_are_skipped_and_later_ones_are_not() -> None:
    """An erase is for good, up to its version."""
    assert "erased later" in why(decided(a_merger_letter(), erased={("default", "r1"): 7}))
    assert isinstance(decided(a_merger_letter(), erased={("default", "r1"): 6}), SendEvent)


def test_topics_that_are_kept_for_ever_make_nothing_too_old() -> None:
    """The merger forgets no erase then."""
    old = a_merger_letter(failed_at=FAILED_AT - timedelta(days=4000))

    assert isinstance(decided(old, kept_since=None), SendEvent)


def test_what_crashed_is_replayed_unread_once_it_is_named() -> None:
    """Decoding it here might end this process, too."""
    found = decided(a_merger_letter(reason=Reason.CRASHED), DeadLetterContent(R1, b"\xff" * 9), named=True)

    assert isinstance(found, SendEvent)
    assert found.value == b"\xff" * 9


def test_a_conflict_counts_as_an_event_of_its_own() -> None:
    """The same id each time, nothing of the Idempotency-Key, and every value as it was written."""
    letter = a_merger_letter(reason=Reason.IDEMPOTENCY_CONFLICT)
    value = value_of(idempotent=True, item_id="score-1", at="2026-11-21T08:00:00Z").replace(
        b'"op"', b'"data":{"big":18446744073709551615,"e":1.50},"op"'
    )
    found = decided(letter, DeadLetterContent(R1, value), as_new_events=True)

    assert isinstance(found, SendEvent)
    assert b'{"big":18446744073709551615,"e":1.50}' in found.value
    body = json.loads(found.value)
    assert body.pop("event_id") == str(own_id(letter)) != json.loads(value)["event_id"]
    assert "idempotent" not in body
    assert {**json.loads(value), "event_id": 0} == {**body, "event_id": 0, "idempotent": True}
    assert own_id(letter) != own_id(a_merger_letter(original_offset=8))
    assert (own_id(letter).version, own_id(letter).variant) == (8, "specified in RFC 4122")


@pytest.mark.parametrize("reason", [Reason.MALFORMED_EVENT, Reason.IDEMPOTENCY_CONFLICT, Reason.CRASHED])
def test_a_correction_is_sent_instead(reason: Reason) -> None:
    """Whatever it was dead-lettered for, at the same place."""
    found = decided(a_merger_letter(reason=reason), DeadLetterContent(R1, b"{", value_of(data={"b": 2})))

    assert isinstance(found, SendEvent)
    assert (found.value, found.version) == (value_of(data={"b": 2}), 7)


def test_a_state_is_inserted_at_its_revision() -> None:
    """As the sink would have, generation included."""
    row = state("r1", 9)
    letter = a_letter(
        stage="sink", original_topic="feedback-state-v2", original_offset=9, original_version=version_of(2, 9)
    )
    found = decide_replay(letter, DeadLetterContent(row.key or b"", row.value), GROUND)

    assert isinstance(found, InsertRow)
    assert found.table == FEEDBACK_STATE
    assert found.line.startswith(b'{"revision":%d,' % version_of(2, 9))


def test_an_erased_state_is_inserted_as_one() -> None:
    """A null value hides the request."""
    found = decide_replay(
        a_letter(stage="sink", original_topic="feedback-state"), DeadLetterContent(R1, None), GROUND
    )

    assert isinstance(found, InsertRow)
    assert json.loads(found.line) == {"revision": 7, "is_deleted": 1, "tenant": "default", "request_id": "r1"}


@pytest.mark.parametrize(("version", "expected"), [(17, 17), (4, 4)])
def test_an_event_for_the_history_keeps_its_version(version: int, expected: int) -> None:
    """Also one that was a replay itself."""
    letter = a_letter(stage="sink", original_offset=17, original_version=version)
    found = decide_replay(letter, DeadLetterContent(KEY, json.dumps(EVENT).encode()), GROUND)

    assert isinstance(found, InsertRow)
    assert found.table == FEEDBACK_EVENTS
    row = json.loads(found.line)
    assert (row["version"], row["log_offset"]) == (expected, 17)
    assert row["appended_at"] == "2026-11-22T08:00:00.123+00:00"


@pytest.mark.parametrize(
    ("topic", "content", "said"),
    [
        ("feedback-state", DeadLetterContent(R1, b"[]"), "cannot be a row: the value is not a JSON object"),
        ("feedback-state", DeadLetterContent(b"", None), "cannot be a row: a null value whose key"),
        ("feedback-events", DeadLetterContent(R1, b"{"), "not an event"),
        ("feedback-events-dlq", DeadLetterContent(R1, b"{}"), "its table is unknown"),
        ("orders", DeadLetterContent(R1, b"{}"), "its table is unknown"),
    ],
)
def test_letters_that_cannot_become_a_row_are_skipped(
    topic: str, content: DeadLetterContent, said: str
) -> None:
    """ClickHouse has nothing to take."""
    assert said in why(decide_replay(a_letter(stage="sink", original_topic=topic), content, GROUND))
