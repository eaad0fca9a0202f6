"""Which stretch of the log is looked at next."""

from services.reconciliation.steps import Behind, next_stretches


def test_nothing_is_looked_at_where_nothing_is_stored() -> None:
    """Nor where all that is stored was looked at."""
    assert [*next_stretches([Behind(0, 7, 7), Behind(1, 9, 7)], 100)] == []


def test_partitions_that_are_behind_share_alike() -> None:
    """What one does not need, the others get."""
    places = [Behind(0, 0, 1_000), Behind(1, 10, 15), Behind(2, 5, 500)]

    assert [*next_stretches(places, 105)] == [Behind(1, 10, 15), Behind(2, 5, 55), Behind(0, 0, 50)]


def test_no_more_is_looked_at_than_was_asked_for() -> None:
    """Also when there are more partitions than events."""
    places = [Behind(number, 0, 10) for number in range(12)]

    assert sum(end - start for _, start, end in next_stretches(places, 5)) == 5
