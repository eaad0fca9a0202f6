"""Medians, ratios and targets: what a figure is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import shown
from bench.stages import POINTS, compared, thinned
from bench.targets import NONE, Target, at_least, at_most, share, times

FINITE = st.floats(min_value=1e-6, max_value=1e9)


def test_value_and_baseline_are_medians_and_the_ratio_is_of_both() -> None:
    """One slow round of either changes nothing."""
    figure = compared("ingest", "singles", "events/s", [90, 100, 1], [25, 20, 900])

    assert (figure.value, figure.baseline, figure.ratio) == (90, 25, 3.6)
    assert (figure.samples, figure.baseline_samples) == ([90, 100, 1], [25, 20, 900])


def test_without_a_baseline_there_is_no_ratio() -> None:
    """And a target of a ratio is neither met nor missed."""
    figure = compared("merger", "against nobody", "events/s", [90], target=times(3, "nobody"))

    assert (figure.baseline, figure.ratio, figure.met) == (None, None, None)
    assert shown.verdict(figure) == "not measured"


@pytest.mark.parametrize(
    ("target", "value", "baseline", "met"),
    [
        (times(4, "it"), 4.0, 1.0, True),
        (times(4, "it"), 3.9999, 1.0, False),
        (share(0.25, "it"), 1.0, 4.0, True),
        (share(0.25, "it"), 1.0001, 4.0, False),
        (at_least(20_000, "events/s"), 20_000.0, 1.0, True),
        (at_least(20_000, "events/s"), 19_999.9, 1.0, False),
        (at_most(1, "s"), 1.0, 9.0, True),
        (at_most(1, "s"), 1.0001, 9.0, False),
        (NONE, 1.0, 1.0, None),
    ],
)
def test_a_target_is_met_by_the_figure_itself(
    target: Target,
    value: float,
    baseline: float,
    met: bool | None,  # noqa: FBT001
) -> None:
    """Its bound counts as met, and nothing beside it."""
    figure = compared("sink", "this", "rows/s", [value], [baseline], target=target)

    assert figure.met is met
    assert figure.target == target.words


@given(FINITE, FINITE)
def test_what_is_shown_is_never_on_the_other_side_of_the_target(value: float, bound: float) -> None:
    """3.9996 times is not 4.00 times."""
    text = float(shown.number(value, bound).replace(",", ""))

    assert (text > bound) - (text < bound) == (value > bound) - (value < bound)


@pytest.mark.parametrize(
    ("value", "text"),
    [(54_321.0, "54,300"), (4.371, "4.37"), (0.012345, "0.0123"), (0.0, "0"), (0.00000123, "0.00000123")],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    """More would pretend to a precision that no run has."""
    assert shown.number(value) == text


def test_a_missed_target_shows_by_how_little() -> None:
    """The ratio where the target is one, else the value."""
    ratio = compared("ingest", "this", "events/s", [3.9996], [1.0], target=times(4, "it"))
    value = compared("whole", "this", "events/s", [19_999.6], target=at_least(20_000, "events/s"))

    assert (shown.ratio(ratio), shown.found(ratio)) == ("3.9996", "3.9996 times")
    assert shown.found(value) == "19,999.6 events/s"
    assert shown.verdict(ratio) == shown.verdict(value) == "missed"


@given(st.lists(st.tuples(FINITE, FINITE), max_size=3 * POINTS))
def test_long_lines_are_thinned_to_what_a_plot_can_show(line: list[tuple[float, float]]) -> None:
    """The end stays: it says whether memory grew."""
    points = thinned(line)

    assert len(points) <= POINTS
    assert len(points) == len(line) or len(points) > POINTS // 2
    assert [at for at, _ in points[-1:]] == [round(at, 1) for at, _ in line[-1:]]
