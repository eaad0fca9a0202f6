"""Which stretch of the log is looked at next."""

import pytest

from services.reconciliation.core.schedule import Backlog, events_in, next_stretches


def test_nothing_is_looked_at_where_nothing_is_stored() -> None:
    """Nor where all that is stored was looked at."""
    assert [*next_stretches([Backlog(0, 7, 7), Backlog(1, 9, 7)], 100)] == []


def test_partitions_that_are_behind_share_alike() -> None:
    """What one does not need, the others get."""
    places = [Backlog(0, 0, 1_000), Backlog(1, 10, 15), Backlog(2, 5, 500)]

    assert [*next_stretches(places, 105)] == [Backlog(1, 10, 15), Backlog(2, 5, 55), Backlog(0, 0, 50)]


def test_no_more_is_looked_at_than_was_asked_for() -> None:
    """Also when there are more partitions than events."""
    places = [Backlog(number, 0, 10) for number in range(12)]

    assert sum(end - start for _, start, end in next_stretches(places, 5)) == 5


@pytest.mark.parametrize(
    ("seconds_an_event", "events"),
    [(0.0, 1_000), (0.0001, 1_000), (0.001, 250), (0.01, 25), (10.0, 1)],
)
def test_looking_takes_no_more_than_a_twentieth_of_the_time(seconds_an_event: float, events: int) -> None:
    """Nor more events than the setting allows; and never none, or it would not hear that it got quicker."""
    assert events_in(5.0, 200.0, seconds_an_event) == events
