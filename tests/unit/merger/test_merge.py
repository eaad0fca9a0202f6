"""The rules of the merge, one by one."""

import json
from typing import Any

from schemas.limits import MAX_SOURCES
from services.merger.core import state as states
from services.merger.core.events import decode
from services.merger.core.merge import merge
from services.merger.core.state import MergerState, blank
from tests.support.merger.records import a_record, an_event


def a_state(*said: tuple[int, dict[str, Any]]) -> MergerState:
    """Return the state of default/r1 after events with the given versions."""
    state = blank("default", "r1")
    for version, changes in said:
        record = a_record(0, an_event(version, **changes))
        merge(state, decode(record.key or b"", record.value or b""), version)
    return state


def shown(state: MergerState) -> dict[str, Any]:
    """Return the row as JSON."""
    fields: dict[str, Any] = json.loads(states.encode(state))
    return fields


def test_a_later_key_replaces_an_earlier_one_and_others_stay() -> None:
    """The merge is per top-level key."""
    row = shown(
        a_state((1, {"data": {"rating": 5, "message": "a"}}), (2, {"data": {"rating": 2, "tags": ["x"]}}))
    )

    assert row["data"] == {"rating": 2, "message": "a", "tags": ["x"]}
    assert row["version"] == 2


def test_lists_and_objects_are_replaced_not_united() -> None:
    """The merge goes one level deep and no deeper."""
    row = shown(
        a_state((1, {"data": {"t": ["a"], "o": {"x": 1}}}), (2, {"data": {"t": ["b"], "o": {"y": 2}}}))
    )

    assert row["data"] == {"t": ["b"], "o": {"y": 2}}


def test_null_clears_a_key_and_an_older_value_does_not_bring_it_back() -> None:
    """A cleared key is remembered with its version."""
    state = a_state((1, {"data": {"a": 1, "b": 1}}), (3, {"data": {"a": None}}), (2, {"data": {"a": 2}}))

    assert shown(state)["data"] == {"b": 1}
    assert state.merge.data.cleared == {"a": 3}


def test_an_older_event_fills_holes_and_overwrites_nothing() -> None:
    """A replay takes its original place."""
    row = shown(
        a_state((1, {"data": {"a": 1}}), (9, {"data": {"b": 9}}), (5, {"data": {"a": 5, "b": 5, "c": 5}}))
    )

    assert row["data"] == {"a": 5, "b": 9, "c": 5}
    assert row["version"] == 9


def test_data_and_request_are_merged_apart() -> None:
    """The same key in both parts is two keys."""
    row = shown(a_state((1, {"data": {"a": 1}}), (2, {"request": {"a": 2}})))

    assert (row["data"], row["request"]) == ({"a": 1}, {"a": 2})


def test_retract_clears_data_and_leaves_the_request() -> None:
    """Retraction takes back what people said, not what the request was."""
    row = shown(a_state((1, {"data": {"a": 1}, "request": {"m": 1}}), (2, {"op": "retract"})))

    assert (row["data"], row["request"], row["version"]) == ({}, {"m": 1}, 2)


def test_data_from_before_a_retract_stays_away_and_later_data_counts() -> None:
    """An old event that is replayed after a retract brings nothing back but its request."""
    row = shown(
        a_state((5, {"op": "retract"}), (3, {"data": {"a": 3}, "request": {"m": 3}}), (6, {"data": {"b": 6}}))
    )

    assert (row["data"], row["request"]) == ({"b": 6}, {"m": 3})


def test_erase_leaves_the_key_and_the_version_and_nothing_else() -> None:
    """Whatever was known is gone: times, sources and remembered ids too."""
    state = a_state((1, {"data": {"a": 1}, "idempotent": True}), (2, {"op": "retract"}), (3, {"op": "erase"}))

    assert shown(state) == {"tenant": "default", "request_id": "r1", "erased": 3, "is_deleted": 1}


def test_nothing_at_or_below_an_erase_counts_and_what_comes_later_does() -> None:
    """An erased row can live again, without its past."""
    state = a_state(
        (3, {"op": "erase"}), (2, {"data": {"a": 1}}), (4, {"data": {"b": 4}, "source": "requesty"})
    )
    row = shown(state)

    assert (row["data"], row["version"], row["sources"]) == ({"b": 4}, 4, ["requesty"])
    assert row["first_received_at"] == "2026-11-22T08:00:04.000001Z"
    assert row["merge"]["erased"] == 3


def test_an_erase_that_comes_late_takes_only_what_is_older() -> None:
    """A replayed erase meets a row that has lived on."""
    state = a_state(
        (1, {"data": {"a": 1}, "request": {"m": 1}}),
        (4, {"data": {"b": 4}}),
        (2, {"op": "retract"}),
        (3, {"op": "erase"}),
    )

    assert (shown(state)["data"], shown(state)["request"]) == ({"b": 4}, {})
    assert (state.merge.erased, state.merge.retracted, state.version) == (3, -1, 4)


def test_versions_are_kept_as_one_and_its_exceptions() -> None:
    """Most fields of a row come from the same event."""
    state = a_state((1, {"data": {"a": 1, "b": 1}}), (2, {"data": {"a": 2}}), (3, {"request": {"m": 3}}))

    assert shown(state)["merge"] == {"data": {"newest": 2, "older": {"b": 1}}, "request": {"newest": 3}}


def test_a_key_that_is_cleared_gives_the_newest_version_back() -> None:
    """The newest version is that of a value that is still there, however the row came about."""
    cleared = a_state((1, {"data": {"a": 1}}), (2, {"data": {"b": 2}}), (3, {"data": {"b": None}}))
    never = a_state((1, {"data": {"a": 1}}), (3, {"data": {"b": None}}))

    assert cleared.merge.data == never.merge.data
    assert cleared.merge.data.newest == 1


def test_times_are_the_earliest_and_the_latest_instant() -> None:
    """Compared as instants: another offset from UTC is the same time."""
    state = a_state(
        (1, {"received_at": "2026-11-22T08:00:00Z"}),
        (2, {"received_at": "2026-11-22T10:30:00.5+03:00"}),
        (3, {"received_at": "2026-11-22T09:00:00.25Z"}),
    )

    assert shown(state)["first_received_at"] == "2026-11-22T07:30:00.500000Z"
    assert shown(state)["last_received_at"] == "2026-11-22T09:00:00.250000Z"


def test_the_smallest_sources_are_kept() -> None:
    """Which ones depends on their names, not on who came first."""
    names = [f"s{number:02d}" for number in range(MAX_SOURCES + 4)]
    state = a_state(*((number, {"source": name}) for number, name in enumerate(reversed(names))))

    assert shown(state)["sources"] == names[:MAX_SOURCES]


def test_the_eight_newest_idempotent_events_are_remembered() -> None:
    """By version, in whatever order they came; an event without a key of its own is not among them."""
    order = [3, 11, 5, 1, 2, 4, 10, 6, 7, 8, 9]
    state = a_state(*((number, {"idempotent": True}) for number in order), (12, {}))

    assert [version for _, version, _ in state.merge.recent] == [4, 5, 6, 7, 8, 9, 10, 11]


def test_an_event_without_fields_makes_a_row() -> None:
    """A reader who waits for it must find it."""
    assert shown(a_state((7, {})))["version"] == 7
