"""Small decisions: refusals and halves, tolerance, start positions, progress, settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.pipeline.core.continuity import LogRange
from services.pipeline.core.progress import RouteOffsets, RouteProgress
from services.runtime.clickhouse.core.bisection import Tolerance, halves, is_refusal
from services.runtime.settings import SettingsError, load
from services.sink.core.batch import start_offset
from services.sink.settings import SinkSettings

PLACE = ("feedback-state", 0)
LOG = LogRange(10, 100)


@pytest.mark.parametrize("code", [6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131, 469])
def test_a_value_that_clickhouse_cannot_take_is_the_rows_fault(code: int) -> None:
    """These are the codes for which a row is looked for."""
    assert is_refusal(code)


@pytest.mark.parametrize("code", [None, 0, 16, 60, 81, 159, 202, 210, 241, 242, 243, 252, 319, 439, 497, 516])
def test_every_other_error_is_retried(code: int | None) -> None:
    """Memory, limits, missing tables, replicas, passwords: the same batch may be taken later."""
    assert not is_refusal(code)


@given(st.lists(st.integers(), min_size=2))
def test_halves_are_both_smaller_and_lose_nothing(items: list[int]) -> None:
    """Cutting ends, and keeps every row and the order."""
    left, right = halves(items)

    assert [*left, *right] == items
    assert 0 < len(left) < len(items)
    assert 0 < len(right) < len(items)


def test_a_few_refused_rows_are_tolerated() -> None:
    """Bad rows happen; up to a tenth of the last thousand are given up one by one."""
    assert not Tolerance().after(50, 50).after(950, 50).exceeded
    assert not Tolerance().after(50_000, 4_999).exceeded


def test_more_than_a_tenth_refused_is_no_bad_luck() -> None:
    """A bad deployment must not drain the log into the dead letters, neither slowly nor at once."""
    assert Tolerance().after(50, 50).after(60, 51).exceeded
    assert Tolerance().after(50_000, 5_001).exceeded


def test_long_ago_is_forgiven() -> None:
    """What counts is the last thousand rows, not all since the start."""
    assert not Tolerance().after(1_000, 90).after(1_000, 90).exceeded


def test_an_operator_may_say_that_the_rows_are_wrong() -> None:
    """A share of 1 never stops the route, and the share stays over batches."""
    assert not Tolerance(share=1.0).after(50, 50).after(5_000, 5_000).exceeded
    assert Tolerance(share=0.5).after(1_000, 400).after(1_000, 501).exceeded


@pytest.mark.parametrize(
    ("stored", "committed", "expected"),
    [
        (None, None, 10),  # nobody remembers: from the start of the log
        (50, None, 50),  # the group's offsets expired
        (50, 50, 50),
        (60, 50, 50),  # killed between position and commit, or an operator's wish to read again
        (40, 50, 40),  # ClickHouse restored from an older backup
        (None, 50, 10),  # ClickHouse is new
        (0, None, 0),
        (0, 50, 0),
    ],
)
def test_reading_starts_where_nothing_can_be_missed(
    stored: int | None, committed: int | None, expected: int
) -> None:
    """Going back changes no row; going on too far would lose some."""
    assert start_offset(stored, committed, LOG) == expected


def test_a_route_that_moves_makes_progress() -> None:
    """However slowly."""
    progress = RouteProgress(moved_at=0.0)
    for second in range(1, 100):
        progress = progress.after(
            RouteOffsets({PLACE: second}, {PLACE: 10_000}), float(second), excused=False
        )

    assert progress.still_for(100.0) == 1.0


def test_a_route_that_stands_still_with_work_to_do_is_noticed() -> None:
    """The clock runs from the last move, not from the last look."""
    progress = RouteProgress().after(RouteOffsets({PLACE: 5}, {PLACE: 9}), 10.0, excused=False)
    progress = progress.after(RouteOffsets({PLACE: 5}, {PLACE: 9}), 50.0, excused=False)

    assert progress.still_for(60.0) == 50.0


def test_a_route_that_never_committed_stands_still_too() -> None:
    """A reader that never began is the worst case of one that stopped."""
    progress = RouteProgress(moved_at=0.0).after(RouteOffsets({}, {PLACE: 9}), 50.0, excused=False)

    assert progress.still_for(60.0) == 60.0


def test_a_route_with_nothing_to_read_is_not_blamed() -> None:
    """Silence is not a fault."""
    progress = RouteProgress(moved_at=0.0).after(RouteOffsets({PLACE: 9}, {PLACE: 9}), 50.0, excused=False)
    progress = progress.after(RouteOffsets({PLACE: 9}, {PLACE: 9}), 90.0, excused=False)

    assert progress.still_for(90.0) == 0.0


def test_waiting_for_clickhouse_is_an_excuse() -> None:
    """Restarting the sink would not bring ClickHouse back."""
    progress = RouteProgress(moved_at=0.0).after(RouteOffsets({PLACE: 5}, {PLACE: 9}), 50.0, excused=True)

    assert progress.still_for(60.0) == 10.0


def test_lag_counts_offsets_between_commit_and_end() -> None:
    """A group that has committed nothing has everything before it."""
    assert RouteOffsets({PLACE: 5}, {PLACE: 9}).lag(PLACE) == 4
    assert RouteOffsets({}, {PLACE: 9}).lag(PLACE) == 9
    assert RouteOffsets({PLACE: 9}, {PLACE: 8}).lag(PLACE) == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SINK_BATCH_ROWS", "0"),
        ("SINK_BATCH_ROWS", "1000000"),
        ("SINK_BATCH_BYTES", "10"),
        ("SINK_FLUSH_SECONDS", "0"),
        ("SINK_METRICS_PORT", "99999"),
        ("SINK_BATCH_ROW", "5"),
    ],
)
def test_nonsense_is_refused_by_name(variable: str, value: str) -> None:
    """The sink does not start on settings that nobody can have meant."""
    with pytest.raises(SettingsError, match=variable):
        load(SinkSettings, {variable: value})
