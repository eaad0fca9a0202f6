"""Progress of partitions and routes, and when a stall counts."""

from services.pipeline.core.progress import PartitionOffsets, PartitionProgress, RouteOffsets, RouteProgress

STATE_0 = ("feedback-state", 0)


def test_a_partition_stalls_only_while_events_wait() -> None:
    """Time counts from the last move, from the last time nothing waited, or from other progress."""
    progress = PartitionProgress()
    progress.see({0: PartitionOffsets(5, 9), 1: PartitionOffsets(9, 9)}, 100.0)
    progress.see({0: PartitionOffsets(5, 9), 1: PartitionOffsets(9, 9)}, 110.0)
    assert progress.stalled(115.0) == (15.0, [0])
    progress.see({0: PartitionOffsets(6, 9), 1: PartitionOffsets(9, 10)}, 120.0)
    assert progress.stalled(121.0) == (11.0, [1])
    progress.touch(130.0)
    assert progress.stalled(131.0)[0] == 1.0
    progress.see({}, 140.0)
    assert progress.stalled(999.0) == (0.0, [])


def test_a_route_that_moves_makes_progress() -> None:
    """However slowly."""
    progress = RouteProgress(moved_at=0.0)
    for second in range(1, 100):
        progress = progress.after(
            RouteOffsets({STATE_0: second}, {STATE_0: 10_000}), float(second), excused=False
        )

    assert progress.still_for(100.0) == 1.0


def test_a_route_that_stalls_with_work_to_do_is_noticed() -> None:
    """The clock runs from the last move, not from the last look."""
    progress = RouteProgress().after(RouteOffsets({STATE_0: 5}, {STATE_0: 9}), 10.0, excused=False)
    progress = progress.after(RouteOffsets({STATE_0: 5}, {STATE_0: 9}), 50.0, excused=False)

    assert progress.still_for(60.0) == 50.0


def test_a_route_that_never_committed_stalls_too() -> None:
    """A reader that never began is the worst case of one that stopped."""
    progress = RouteProgress(moved_at=0.0).after(RouteOffsets({}, {STATE_0: 9}), 50.0, excused=False)

    assert progress.still_for(60.0) == 60.0


def test_a_route_with_nothing_to_read_is_not_blamed() -> None:
    """Silence is not a fault."""
    progress = RouteProgress(moved_at=0.0).after(
        RouteOffsets({STATE_0: 9}, {STATE_0: 9}), 50.0, excused=False
    )
    progress = progress.after(RouteOffsets({STATE_0: 9}, {STATE_0: 9}), 90.0, excused=False)

    assert progress.still_for(90.0) == 0.0


def test_waiting_for_clickhouse_is_an_excuse() -> None:
    """Restarting the sink would not bring ClickHouse back."""
    progress = RouteProgress(moved_at=0.0).after(RouteOffsets({STATE_0: 5}, {STATE_0: 9}), 50.0, excused=True)

    assert progress.still_for(60.0) == 10.0


def test_lag_counts_offsets_between_commit_and_end() -> None:
    """A group that has committed nothing has everything before it."""
    assert RouteOffsets({STATE_0: 5}, {STATE_0: 9}).lag(STATE_0) == 4
    assert RouteOffsets({}, {STATE_0: 9}).lag(STATE_0) == 9
    assert RouteOffsets({STATE_0: 9}, {STATE_0: 8}).lag(STATE_0) == 0
