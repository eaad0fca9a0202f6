"""The pace of a contender, and what counts as a wrong result."""

import pytest

from bench.merger.measured import AFTERWORD, STREAMS, TEXTBOOK, Measured, figures
from bench.merger.truth import Fault, faults, of_row, of_state
from bench.merger.watched import Mark, Pace, pace

MARKS = [Mark(10, 100.0, 7.0), Mark(50, 101.0, 7.8), Mark(90, 104.0, 8.2), Mark(110, 105.0, 8.7)]


def test_what_came_before_the_first_mark_does_not_count() -> None:
    """Neither the time, nor the processor's, nor the events."""
    assert pace(MARKS) == pytest.approx((100 / 5, 1e6 * 1.7 / 100))


def test_the_last_half_begins_at_the_last_mark_before_it() -> None:
    """A half of 100 events would begin at 60."""
    assert pace(MARKS, 0.5) == pytest.approx((60 / 4, 1e6 * 0.9 / 60))


def test_rows_and_states_are_read_alike() -> None:
    """The value of each key, and the offset of the event that it came with."""
    row = (
        b'{"version":9007199254740996,"data":{"rating":2,"tags":[]},'
        b'"merge":{"data":{"newest":9007199254740996,"older":{"tags":9007199254740993},"cleared":{"x":1}}}}'
    )
    state = b'{"rating":[2,1795339200000,4],"tags":[[],1795339200001,1]}'

    assert of_row(row) == of_state(state) == {"rating": (2, 4), "tags": ([], 1)}


def test_a_missing_state_an_extra_one_and_an_older_value_are_faults() -> None:
    """An equal value of another event is one, too."""
    right, older = {"rating": (2, 4)}, {"rating": (2, 3)}
    expected = {b"a": right, b"b": right, b"c": right}
    found = {b"a": right, b"b": older, b"d": right}

    assert sorted(faults(expected, found)) == [
        Fault(b"b", right, older),
        Fault(b"c", right, None),
        Fault(b"d", None, right),
    ]


def test_figures_are_judged_by_the_medians_of_all_rounds() -> None:
    """Three times the rate for a quarter of the processor time, over three rounds."""
    measured = Measured(memory={10_000_000: 1024.5})
    for paces in (measured.merging, measured.late, measured.restoring):
        paces[AFTERWORD] = [Pace(30_000, 10), Pace(90_000, 12), Pace(60_000, 11)]
        paces[STREAMS] = [Pace(20_000, 44), Pace(10_000, 60), Pace(30_000, 40)]
        paces[TEXTBOOK] = [Pace(1_000, 700), Pace(2_400.1, 600), Pace(3_000, 500)]

    assert [(figure.ratio, figure.met) for figure in figures(measured)] == [
        (pytest.approx(24.999, abs=0.001), False),
        (3.0, True),
        (0.25, True),
        (pytest.approx(11 / 600), None),
        (3.0, None),
        (0.25, None),
        (3.0, True),
        (0.25, None),
        (None, False),
    ]


def test_what_was_not_measured_is_not_judged() -> None:
    """No jars, no Kafka Streams."""
    measured = Measured()
    for paces in (measured.merging, measured.late, measured.restoring):
        paces[AFTERWORD] = [Pace(30_000, 10)]
    measured.merging[TEXTBOOK] = [Pace(1_000, 700)]

    assert [figure.met for figure in figures(measured)] == [True, *[None] * 7]


def test_nothing_is_judged_by_a_java_that_is_not_warm() -> None:
    """Faust's figures are."""
    measured = Measured()
    for paces in (measured.merging, measured.late, measured.restoring):
        paces[AFTERWORD] = paces[STREAMS] = paces[TEXTBOOK] = [Pace(30_000, 10)]

    judged = [figure for figure in figures(measured, is_warm=False) if figure.met is not None]
    assert ["Faust" in one.figure for one in judged] == [True]
