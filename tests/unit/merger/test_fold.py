"""Holes between records, and the share of broken events."""

from services.merger.core.fold import WINDOW_EVENTS, holes, is_too_many, latest


def test_holes_lie_before_and_between_records() -> None:
    """Each as (first, after last)."""
    assert list(holes(3, [3, 4, 5])) == []
    assert list(holes(3, [5, 6, 9])) == [(3, 5), (7, 9)]


def test_broken_events_are_counted_in_every_window() -> None:
    """Wherever 1,000 events begin; what is older does not matter any more."""
    spread = list(range(0, 50_000, 20))
    dense = [*range(100), 50_000]

    assert latest([], spread)[1] == WINDOW_EVENTS // 20
    assert latest(dense[:60], dense[60:]) == ([50_000], 100)
    assert not is_too_many(100, 0.1)
    assert is_too_many(101, 0.1)
    assert not is_too_many(WINDOW_EVENTS, 1.0)
