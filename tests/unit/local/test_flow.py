"""Lag and rates from positions."""

from services.local.core.flow import Flow, StageProgress, rates, stage


def test_lag_is_what_is_between_the_commit_and_the_end() -> None:
    """Partitions add up."""
    found = stage("sink", begins={("t", 0): 0, ("t", 1): 0}, ends={("t", 0): 10, ("t", 1): 5},
                  committed={("t", 0): 7, ("t", 1): 5})  # fmt: skip

    assert StageProgress("sink", lag=3, done=12) == found


def test_a_partition_without_a_commit_is_read_from_its_beginning() -> None:
    """What retention removed is no lag."""
    found = stage("sink", begins={("t", 0): 40}, ends={("t", 0): 50}, committed={})

    assert StageProgress("sink", lag=10, done=40) == found


def test_a_commit_past_the_end_is_no_negative_lag() -> None:
    """The end is read before the commits, so a fast reader may be ahead of it."""
    assert stage("sink", begins={}, ends={("t", 0): 5}, committed={("t", 0): 6}).lag == 0


def test_rates_are_records_a_second_between_two_moments() -> None:
    """Of the log, and of each stage."""
    before = Flow(at=10.0, events=100, stages=(StageProgress("merger", 0, 90),))
    after = Flow(
        at=12.0, events=300, stages=(StageProgress("merger", 0, 190), StageProgress("sink-state", 0, 70))
    )

    found = rates(before, after)

    assert (found.events, dict(found.stages)) == (100.0, {"merger": 50.0, "sink-state": 0.0})


def test_the_first_moment_and_new_topics_have_no_rate() -> None:
    """A rate below zero, or one from nothing, would be nonsense."""
    later = Flow(at=12.0, events=10, stages=(StageProgress("merger", 0, 10),))

    assert rates(None, later).events == 0.0
    assert rates(later, Flow(at=13.0)).events == 0.0
