"""Charts: markup that is well-formed, has a description of everything, and lets no name become markup."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.dashboard.core.charts import (
    ChartColumn,
    ChartScale,
    ChartSegment,
    axis,
    bar,
    columns,
    scale_around,
    scale_from_zero,
    short,
    tick_labels,
    whisker,
)

HOSTILE = "\"><script>alert(1)</script><a href='javascript:x'>&{{ 7*7 }}"

FINITE = st.floats(-1e12, 1e12, allow_nan=False, allow_subnormal=False)


def parsed(markup: str) -> ET.Element:
    """Return the markup's tree; it is XML, so that nothing is left open."""
    return ET.fromstring(markup)  # noqa: S314 (made here)


def texts(tree: ET.Element) -> list[str]:
    """Return every text of a tree."""
    return [text for text in tree.itertext() if text.strip()]


def three() -> list[ChartColumn]:
    """Return three columns, the middle one empty."""
    return [
        ChartColumn(
            "1 Nov",
            "1 Nov: 3",
            (ChartSegment(2, "is-positive"), ChartSegment(1, "is-negative")),
            1,
            "/?from=1",
        ),
        ChartColumn("2 Nov", "2 Nov: none", (), 0),
        ChartColumn("3 Nov", "3 Nov: 4", (ChartSegment(4, "is-positive"),)),
    ]


def drawn(bars: list[ChartColumn], title: str = "Votes per day", told: str = "7 votes") -> ET.Element:
    """Return the chart of columns."""
    scale = scale_from_zero([4])
    return parsed(columns(title, told, bars, scale, tick_labels(scale), "votes"))


def test_a_chart_has_a_name_and_a_description() -> None:
    """For those who hear the page, and for those who point at a column."""
    tree = drawn(three())

    assert tree.get("role") == "img"
    named = {element.get("id"): element.text for element in tree if element.get("id")}
    assert tree.get("aria-labelledby", "").split() == list(named)
    assert list(named.values()) == ["Votes per day", "7 votes"]
    assert {"1 Nov: 3", "2 Nov: none", "3 Nov: 4"} <= set(texts(tree))


def test_parts_of_a_column_are_stacked() -> None:
    """And reach as high as their sum."""
    rects = [one for one in drawn(three()).iter("rect") if "bar" in one.get("class", "")]
    places = [(float(rect.get("y", "")), float(rect.get("height", ""))) for rect in rects]
    floor = places[0][0] + places[0][1]

    assert [rect.get("class") for rect in rects] == ["bar is-positive", "bar is-negative", "bar is-positive"]
    assert places[1][0] + places[1][1] == pytest.approx(places[0][0])
    assert floor - places[1][0] == pytest.approx(3 / 4 * (floor - places[2][0]))
    assert places[2][1] == pytest.approx(floor - places[2][0])


def test_charts_are_styled_by_classes_alone() -> None:
    """The Content-Security-Policy forbids styles in place."""
    scale = ChartScale(0, 1, (0, 0.5, 1))
    for markup in (
        columns("a", "b", three(), scale_from_zero([4]), ["0", "2", "4"], "x"),
        whisker(0.5, 0.4, 0.6, scale, before=0.45, style="is-accent"),
        axis(scale, ["0", "half", "1"]),
        bar([ChartSegment(1, "is-1")], 2),
    ):
        parsed(markup)
        assert not re.search(r"style=|<style|\son\w+=", markup)


def test_no_name_becomes_markup() -> None:
    """Neither in a title, a label, a link nor what is told."""
    bars = [ChartColumn(HOSTILE, HOSTILE, (ChartSegment(1, "is-1"),), 1, f"/?model={HOSTILE}")]
    markup = columns(HOSTILE, HOSTILE, bars, scale_from_zero([1]), [HOSTILE] * 2, "x")

    assert not re.search("<script|javascript:[^x]|<a href='", markup)
    assert HOSTILE in texts(parsed(markup))
    assert {one.tag for one in parsed(markup).iter()} <= {"svg", "title", "desc", "a", "line", "rect", "text"}
    assert HOSTILE in texts(parsed(axis(ChartScale(0, 1, (0, 1)), [HOSTILE, "1"])))


@given(st.lists(FINITE, max_size=5))
def test_an_axis_holds_all_its_values(values: list[float]) -> None:
    """Between its first and its last tick."""
    scale = scale_around(values)

    assert list(scale.ticks) == sorted(scale.ticks)
    assert 2 <= len(scale.ticks) <= 21
    assert all(
        scale.ticks[0] - 1e-6 * abs(value) <= value <= scale.ticks[-1] + 1e-6 * abs(value) for value in values
    )
    assert all(0 <= scale.part(one) <= 1 for one in (*values, -1e300, 1e300))


@given(st.lists(st.integers(0, 10**15), max_size=5))
def test_an_axis_of_counts_begins_at_zero(values: list[int]) -> None:
    """And has few ticks, none of which is a fraction."""
    scale = scale_from_zero(values)

    assert scale.ticks[0] == 0
    assert scale.ticks[-1] >= max(values, default=0)
    assert len(scale.ticks) <= 5
    assert all(float(tick).is_integer() for tick in scale.ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12, "12"), (1500, "1.5k"), (2_000_000, "2M"), (0.25, "0.25"), (-3000, "-3k")],
)
def test_ticks_are_short(value: float, text: str) -> None:
    """So that they fit on a phone."""
    assert short(value) == text


def test_a_line_without_an_interval_has_its_dot_alone() -> None:
    """As for a single vote."""
    tree = parsed(whisker(3, None, None, ChartScale(1, 5, (1, 5)), before=None, style="is-accent"))

    assert [one.get("class") for one in tree] == ["grid", "grid", "dot"]
    assert tree[-1].get("cx") == "50.000%"
