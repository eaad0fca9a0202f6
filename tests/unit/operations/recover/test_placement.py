"""Where events of a log count that gave offsets out twice."""

from services.operations.recover.core.placement import (
    ContestedRequest,
    LoggedEvent,
    StoredEvent,
    is_contested,
    is_stored,
)


def stored(version: int, digest: int) -> StoredEvent:
    """Return a row of an event at its own place."""
    return StoredEvent(version, version, 0, digest)


def logged(own: int, digest: int, version: int | None = None) -> LoggedEvent:
    """Return an event of the log."""
    return LoggedEvent(own, own if version is None else version, 0, digest)


def test_an_event_is_stored_where_the_table_has_just_it_or_a_later_record_of_it() -> None:
    """Another event under its version is none, and neither is an earlier record of a replayed one."""
    assert is_stored(logged(5, 1), [stored(5, 1)])
    assert is_stored(logged(5, 1), [StoredEvent(5, 9, 0, 1)])
    assert not is_stored(logged(5, 1), [stored(5, 2)])
    assert not is_stored(logged(9, 1, version=5), [stored(5, 1)])


def test_what_has_nothing_behind_it_is_not_contested_and_replays_never_are() -> None:
    """So most events keep their place without another look."""
    assert not is_contested(logged(5, 1), [stored(4, 2)], [4])
    assert is_contested(logged(5, 1), [stored(5, 2)], [])
    assert is_contested(logged(5, 1), [stored(6, 2)], [])
    assert not is_contested(logged(9, 1, version=5), [stored(5, 2), stored(20, 3)], [20])
    assert is_contested(logged(5, 1), [stored(4, 2)], [7])


def test_an_event_from_after_the_cut_counts_behind_what_was_lost_and_before_what_followed() -> None:
    """The log was cut at 10; 10 and 12 were lost, 10 and 11 given out again, and 20 was merged and stored."""
    rows = [stored(3, 1), stored(10, 2), stored(12, 3), stored(20, 6)]
    log = [logged(3, 1), logged(10, 4), logged(11, 5), logged(20, 6)]
    request = ContestedRequest(log, rows, (), first=0, behind=1000)
    assert request.versions([log[1], log[2]]) == {10: 13, 11: 14}


def test_an_event_that_was_only_never_stored_keeps_its_place() -> None:
    """Nothing was lost there, so what came later stays later."""
    log = [logged(3, 1), logged(4, 2), logged(5, 3)]
    request = ContestedRequest(log, [stored(3, 1), stored(5, 3)], (), first=0, behind=1000)
    assert request.versions([log[1]]) == {4: 4}


def test_without_room_it_counts_as_the_newest_and_replays_keep_their_place() -> None:
    """It is kept in any case."""
    rows = [stored(10, 2), stored(11, 3)]
    log = [logged(10, 4), logged(11, 3), logged(12, 5, version=2)]
    request = ContestedRequest(log, rows, (), first=0, behind=1000)
    assert request.versions([log[0], log[2]]) == {10: 1000, 12: 2}


def test_an_event_from_after_the_cut_counts_behind_what_only_a_state_still_has() -> None:
    """Version 9 was merged, and cut off before it was stored; 6 and 7 were given out again."""
    log = [logged(5, 1), logged(6, 2), logged(7, 3)]
    request = ContestedRequest(log, [stored(5, 1)], {5, 9}, first=0, behind=1000)
    assert request.versions(log[1:]) == {6: 10, 7: 11}


def test_an_event_that_was_merged_and_not_stored_yet_keeps_its_place() -> None:
    """Its version is in the state because it is in the log."""
    log = [logged(5, 1), logged(6, 2), logged(7, 3)]
    request = ContestedRequest(log, [stored(5, 1)], {5, 6, 7}, first=0, behind=1000)
    assert request.versions(log[1:]) == {6: 6, 7: 7}
