"""Admission, rule by rule, on batches of records."""

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.deadletters import REPLAY_VERSION_HEADER, Reason
from schemas.identity import event_key, partition_of
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, Outcome, RowLimits
from services.merger.core.fold import Folded, SourcePartition, fold, keys_of
from tests.support.merger.records import SOURCE, ARecord, a_log, a_record, an_event, an_event_id

KEY = b"default/r1"


def folded(records: Sequence[ARecord], stored: dict[bytes, bytes] | None = None, **options: Any) -> Folded:
    """Fold records over stored rows."""
    stored = stored or {}
    return fold(records, {key: stored.get(key) for key in keys_of(records)}, SOURCE, **options)


def row_after(records: Sequence[ARecord], **options: Any) -> dict[bytes, bytes]:
    """Return the stored rows after a batch."""
    return {key: row.value for key, row in folded(records, **options).rows.items()}


def reasons(result: Folded) -> list[tuple[int, Reason]]:
    """Return what was dead-lettered, and why."""
    return [(letter.record.offset, letter.reason) for letter in result.letters]


def test_a_record_that_was_read_before_changes_nothing() -> None:
    """Neither the row, nor the dead letters, though the record be broken."""
    log = [*a_log(an_event(0, data={"a": 1})), ARecord(1, KEY, b"{"), a_record(2, an_event(2))]
    again = folded(log, row_after(log))

    assert (again.rows, again.letters) == ({}, [])
    assert again.outcomes[Outcome.READ_BEFORE] == 3


def test_a_repeat_only_raises_the_version() -> None:
    """The same Idempotency-Key and the same body, keys in any order."""
    first = an_event(0, idempotent=True, data={"a": 1, "b": 2})
    repeat = {**first, "data": {"b": 2, "a": 1}, "received_at": "2027-01-01T00:00:00Z", "source": "other"}
    result = folded(a_log(first, repeat))
    state = states.decode(result.rows[KEY].value)

    assert (state.version, state.sources, result.outcomes[Outcome.REPEAT]) == (1, ["native"], 1)
    assert result.letters == []


def test_another_body_under_the_same_idempotency_key_is_a_conflict() -> None:
    """The first body stands; the second is a dead letter, and its version counts as read."""
    first = an_event(0, idempotent=True, data={"a": 1})
    result = folded(a_log(first, {**first, "data": {"a": 2}}))
    state = states.decode(result.rows[KEY].value)

    assert (state.version, bytes(state.data["a"])) == (1, b"1")
    assert reasons(result) == [(1, Reason.IDEMPOTENCY_CONFLICT)]


def test_a_repeat_after_an_erase_counts_again() -> None:
    """Erased is erased: nobody remembers that it was there."""
    first = an_event(0, idempotent=True, data={"a": 1})
    result = folded(a_log(first, an_event(1, op="erase"), first))

    assert bytes(states.decode(result.rows[KEY].value).data["a"]) == b"1"


def test_a_replay_counts_at_its_first_version() -> None:
    """And the row's version stays that of the newest event."""
    log = [*a_log(an_event(0), an_event(1), an_event(2, data={"a": 2}))]
    result = folded([*log, a_record(3, an_event(3, data={"a": 3, "b": 3}), replays=1)])
    state = states.decode(result.rows[KEY].value)

    assert {key: bytes(value) for key, value in state.data.items()} == {"a": b"2", "b": b"3"}
    assert (state.version, state.merge.read) == (2, 3)


@pytest.mark.parametrize(
    "header", [b"", b"x", b"-1", b"1.0", b" 1", b"9" * 21, "٣".encode(), None, b"3", b"4"]
)
def test_a_replay_header_that_names_no_earlier_version_is_poison(header: bytes | None) -> None:
    """A dead letter, never an exception, and at the record's own place."""
    record = a_record(3, an_event(3))._replace(headers=((REPLAY_VERSION_HEADER, header),))
    result = folded([record])

    assert reasons(result) == [(3, Reason.INVALID_REPLAY)]
    assert result.letters[0].version == 3


def test_two_replay_headers_are_poison() -> None:
    """Which of them would count?"""
    headers = ((REPLAY_VERSION_HEADER, b"1"), (REPLAY_VERSION_HEADER, b"2"))

    assert reasons(folded([a_record(3)._replace(headers=headers)])) == [(3, Reason.INVALID_REPLAY)]


def test_foreign_headers_are_ignored() -> None:
    """Tracing and the like are nobody's business here."""
    result = folded([a_record(3)._replace(headers=(("traceparent", b"\xff"), ("x", None)))])

    assert result.outcomes[Outcome.MERGED] == 1


def test_a_broken_replay_keeps_its_place_in_the_dead_letters() -> None:
    """So that it can be mended and replayed once more."""
    record = a_record(9, replays=2)._replace(value=b"{")

    assert folded([record]).letters[0].version == 2


def test_a_row_takes_no_more_keys_than_it_may() -> None:
    """Cleared keys count; what replaces a key adds none."""
    limits = RowLimits(keys=3, bytes=LIMITS.bytes)
    log = a_log(
        an_event(0, data={"a": 1, "b": None}, request={"m": 1}),
        an_event(1, data={"a": 2}),
        an_event(2, data={"a": 3, "c": 3}),
        an_event(3, request={"n": 4}),
    )
    result = folded(log, limits=limits)

    assert reasons(result) == [(2, Reason.ROW_TOO_LARGE), (3, Reason.ROW_TOO_LARGE)]
    assert states.decode(result.rows[KEY].value).data.keys() == {"a"}


def test_a_row_takes_no_more_bytes_than_it_may() -> None:
    """Counted are keys and values; an event that makes the row smaller is welcome."""
    limits = RowLimits(keys=99, bytes=20)
    log = a_log(
        an_event(0, data={"a": "x" * 16}),
        an_event(1, data={"b": 1}),
        an_event(2, data={"bb": 1}),
        an_event(3, data={"a": "y"}),
        an_event(4, data={"bb": 1}),
    )

    assert reasons(folded(log, limits=limits)) == [(1, Reason.ROW_TOO_LARGE), (2, Reason.ROW_TOO_LARGE)]


def test_exactly_the_limit_is_allowed() -> None:
    """Past it, not at it."""
    log = a_log(an_event(0, data={"a": "x" * 16}))

    assert reasons(folded(log, limits=RowLimits(keys=1, bytes=19))) == []
    assert reasons(folded(log, limits=RowLimits(keys=1, bytes=18))) == [(0, Reason.ROW_TOO_LARGE)]


def test_an_event_that_was_too_large_stays_out_when_it_is_read_again() -> None:
    """Though there would be room by now, made by a replay that does not raise the row's version."""
    limits = RowLimits(keys=2, bytes=LIMITS.bytes)
    log = [
        *a_log(an_event(0, data={"a": 1, "b": 1}), an_event(1), an_event(2, op="retract")),
        a_record(3, an_event(3, data={"c": 1, "d": 1})),
        a_record(4, an_event(4, request={"m": 1})),
        a_record(5, an_event(5, op="retract"), replays=2),
    ]
    log[2] = ARecord(2, KEY, b"{")
    first = folded(log, limits=limits)
    stored = {key: row.value for key, row in first.rows.items()}
    again = folded(log[3:], stored, limits=limits)

    assert reasons(first) == [
        (2, Reason.MALFORMED_EVENT),
        (3, Reason.ROW_TOO_LARGE),
        (4, Reason.ROW_TOO_LARGE),
    ]
    assert states.decode(stored[KEY]).data == {}
    assert (again.rows, again.letters) == ({}, [])


@pytest.mark.parametrize(
    "key", [None, b"", b"default", b"default/r2", b"Default/r1", b"\xff/r1", b"default/r1 "]
)
def test_a_key_that_disagrees_with_the_body_is_poison(key: bytes | None) -> None:
    """The key decides where an event lives, so nobody may say two things."""
    assert reasons(folded([a_record(0)._replace(key=key)])) == [(0, Reason.MALFORMED_EVENT)]


@pytest.mark.parametrize(
    ("tenant", "request_id"), [("Acme", "r1"), ("", "r1"), ("a_b", "r"), ("a", ""), ("a", "\n")]
)
def test_a_key_that_ingest_cannot_have_written_is_poison(tenant: str, request_id: str) -> None:
    """Though the body agrees with it."""
    record = a_record(0, an_event(tenant=tenant, request_id=request_id))

    assert reasons(folded([record])) == [(0, Reason.MALFORMED_EVENT)]


def test_a_record_in_a_foreign_partition_is_poison() -> None:
    """It was written by something that places keys otherwise: the row would exist twice."""
    source = SourcePartition("feedback-events", generation=0, partition=0, partitions=4)
    ids = [f"r{number}" for number in range(40)]
    log = a_log(*(an_event(number, request_id=name) for number, name in enumerate(ids)))
    result = fold(log, dict.fromkeys(keys_of(log)), source)
    at_home = {event_key("default", name) for name in ids if partition_of(event_key("default", name), 4) == 0}

    assert result.rows.keys() == at_home
    assert {letter.reason for letter in result.letters} == {Reason.MALFORMED_EVENT}
    assert len(result.letters) == len(ids) - len(at_home)


def test_versions_carry_the_generation() -> None:
    """A newer topic outranks every offset of an older one."""
    source = SOURCE._replace(generation=2)
    result = fold(a_log(an_event(0)), {KEY: None}, source)

    assert states.decode(result.rows[KEY].value).version == 2 << 48


def test_a_row_is_stamped_with_the_append_time_of_its_newest_event() -> None:
    """So that whoever reads it can tell how fresh it is."""
    log = [record._replace(timestamp=1_000 + record.offset) for record in a_log(an_event(0), an_event(1))]

    assert folded(log).rows[KEY].timestamp == 1_001


def test_a_crashed_record_is_not_even_looked_at() -> None:
    """And the rest of the batch is merged as ever."""
    result = folded(a_log(an_event(0, data={"a": 1}), an_event(1, data={"a": 2})), crashed=frozenset({1}))

    assert reasons(result) == [(1, Reason.CRASHED)]
    assert bytes(states.decode(result.rows[KEY].value).data["a"]) == b"1"


def test_an_ignored_event_sends_no_row() -> None:
    """Below an erase nothing happens, so nothing is said."""
    erased = row_after(a_log(an_event(0), an_event(1, op="erase")))
    result = folded([a_record(2, an_event(2, data={"a": 1}), replays=0)], erased)

    assert (result.rows, result.outcomes[Outcome.ERASED]) == ({}, 1)


def test_an_idempotent_id_is_recognised_without_a_mark_in_the_event() -> None:
    """What counts is the id; a body that differs is a conflict even if ingest could not have written it."""
    first = an_event(0, idempotent=True, data={"a": 1})
    foreign = an_event(1, event_id=an_event_id(0, idempotent=True), data={"a": 1})

    assert folded(a_log(first, foreign)).outcomes[Outcome.REPEAT] == 1
