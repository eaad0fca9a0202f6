"""What the insights page makes of statistics: numbers, steps over time, comparisons and rankings."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.query.dashboard.core.comparison import SHARE, comparing, measure_format, parse_scale, ranking
from services.query.dashboard.core.formatting import DASH
from services.query.dashboard.core.overview import cards, sentiments, span_text, steps, unit_for, volume
from services.query.reads.core.filters import NO_FILTERS, parse_filters
from services.query.reads.core.statistics.figures import Compared, Figures, Group, Interval, Span, Stats
from services.query.reads.core.statistics.question import Period

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def interval(value: float, reach: float = 0.1, n: int = 50) -> Interval:
    """Return a value with an interval around it."""
    return Interval(value=value, low=value - reach, high=value + reach, n=n)


def figures(requests: int = 0, positive: int = 0, negative: int = 0, **more: Any) -> Figures:
    """Return figures, all of whose requests have feedback."""
    counts = {"requests": requests, "with_feedback": requests, "rated": positive + negative, "neutral": 0}
    fixed: dict[str, Any] = {"share": None, "average": None, "not_numbers": None}
    return Figures(**counts | fixed | {"positive": positive, "negative": negative} | more)


def group(key: dict[str, str | None], now: Figures, before: Figures | None = None, kind: Any = Group) -> Any:
    """Return a group, with nothing in the previous period unless that is given."""
    return kind(**dict(now) | {"key": key, "previous": before or figures()})


def stats(*groups: Group, by: str = "day", days: int = 3, total: Compared | None = None) -> Stats:
    """Return statistics of some days of November."""
    return Stats(
        period=Span(start=START, end=START + days * DAY),
        previous_period=Span(start=START - days * DAY, end=START),
        time="last_received_at", time_zone="UTC", by=[by], measure="rating", confidence=0.95,
        total=total or group({}, figures(), kind=Compared),
        groups=list(groups), rest=[], groups_left_out=0, undated=0,
    )  # fmt: skip


def test_every_day_has_a_step_also_one_without_requests() -> None:
    """And leads to its own requests, under the same filters."""
    answer = stats(group({"day": "2026-11-02"}, figures(4, 3, 1), figures(2)))

    found = steps(answer, parse_filters([("model", "gpt-x")]))

    assert [step.name for step in found] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert [step.figures.requests for step in found] == [0, 4, 0]
    assert found[1].previous == figures(2)
    assert found[1].href == "/?model=gpt-x&from=2026-11-02T00%3A00%3A00Z&to=2026-11-03T00%3A00%3A00Z"
    for chart in (volume(found, "day"), sentiments(found, "day")):
        assert "2026-11-02" in chart


def test_all_times_begin_with_the_first_request() -> None:
    """Not in 1970."""
    answer = stats(group({"day": "2026-11-02"}, figures(4))).model_copy(update={"previous_period": None})

    found = steps(answer, NO_FILTERS)

    assert [step.name for step in found] == ["2026-11-02", "2026-11-03"]
    assert found[1].previous is None


def test_empty_charts_have_a_message() -> None:
    """An empty period has charts, too."""
    found = steps(stats(), NO_FILTERS)

    assert "None with feedback" in volume(found, "day")
    assert "None positive" in sentiments(found, "day")


@pytest.mark.parametrize(
    ("days", "unit"), [(1, "hour"), (2, "hour"), (3, "day"), (92, "day"), (93, "week"), (800, "month")]
)
def test_longer_periods_have_longer_steps(days: int, unit: str) -> None:
    """So that there are never too many columns."""
    assert unit_for(Period(START, START + days * DAY)) == unit


def test_numbers_are_shown_beside_those_before() -> None:
    """Coloured where the intervals leave no doubt."""
    now = figures(1500, 900, 300, share=interval(0.75, 0.05), average=interval(4.0))
    before = figures(1000, 500, 500, share=interval(0.5, 0.05), average=interval(3.95))

    found = cards(stats(total=group({}, now, before, kind=Compared)))

    assert [(card.value, card.before, card.change, card.style) for card in found] == [
        ("1,500", "1,000", "+50.0%", "is-muted"),
        ("1,500", "1,000", "+50.0%", "is-muted"),
        ("75.0%", "50.0%", "+25.0 points", "is-positive"),
        ("4", "3.95", "+0.05", "is-muted"),
    ]


def test_without_votes_there_is_no_number() -> None:
    """Rather than a zero."""
    assert [card.value for card in cards(stats())] == ["0", "0", DASH, DASH]


def test_a_period_of_whole_days_is_named_by_its_days() -> None:
    """Else to the minute."""
    assert span_text(Span(start=START, end=START + DAY)) == "2026-11-01 to 2026-11-02 UTC"
    assert span_text(Span(start=START, end=START + DAY / 2)) == "2026-11-01 to 2026-11-01 12:00 UTC"


def compared(*values: tuple[str | None, float | None]) -> Stats:
    """Return statistics by model, with these averages."""
    groups = [
        group({"model": name}, figures(9, average=None if value is None else interval(value)))
        for name, value in values
    ]
    return stats(*groups, by="model")


def test_the_best_comes_first() -> None:
    """Whoever has no value has no line, nor has who has no name."""
    answer = compared(("a", 1.5), ("b", 3.0), ("c", None), (None, 9.0), ("d", 2.0))

    found = comparing(answer, measure_format("rating", None), NO_FILTERS)

    assert [line.name for line in found.lines] == ["b", "d", "a"]
    assert (found.nameless, found.left_out) == (9, 1)
    assert found.lines[0].href == "/?model=b"


def test_of_latency_the_lowest_is_the_best() -> None:
    """And its values have a unit."""
    found = comparing(compared(("a", 1500.0), ("b", 300.0)), measure_format("latency_ms", None), NO_FILTERS)

    assert [(line.name, line.value) for line in found.lines] == [("b", "300 ms"), ("a", "1.50 s")]


@pytest.mark.parametrize(("scale", "values"), [("1..2", ["80.0%", "20.0%"]), ("2..1", ["80.0%", "20.0%"])])
def test_a_scale_shows_what_is_best(scale: str, values: list[str]) -> None:
    """Its second end: intervals keep their lower end first."""
    found = comparing(
        compared(("a", 1.2), ("b", 1.8)), measure_format("data.preference", parse_scale(scale)), NO_FILTERS
    )

    assert [line.value for line in found.lines] == values
    for line in found.lines:
        low, high = (float(one) for one in re.findall(r"(-?[\d.]+)%", line.interval))
        assert low < float(line.value[:-1]) < high


@pytest.mark.parametrize("text", ["", "1", "1-2", "1..1", "a..b", "nan..1", "1..inf", "1..2..3"])
def test_what_is_no_scale_is_none(text: str) -> None:
    """It has two ends, which are numbers."""
    assert parse_scale(text) is None


def test_few_requests_are_marked() -> None:
    """One more could still move their value much."""
    answer = stats(
        group({"model": "a"}, figures(9, average=interval(3, n=29))),
        group({"model": "b"}, figures(9, average=interval(3, n=30))),
        by="model",
    )

    found = comparing(answer, measure_format("rating", None), NO_FILTERS)

    assert {line.name: line.is_few for line in found.lines} == {"a": True, "b": False}


def test_tags_are_ranked_as_they_came() -> None:
    """Those that only the previous period has are left out; a link adds the tag to those filtered by."""
    answer = stats(
        group({"tag": None}, figures(90)),
        group({"tag": "wrong"}, figures(8, 1, 7, share=interval(0.125)), figures(2)),
        group({"tag": "old"}, figures(), figures(5)),
        by="tag",
    )

    (line,) = ranking(answer, parse_filters([("tag", "slow")]))

    assert (line.name, line.requests, line.before, line.value) == ("wrong", 8, "2", "12.5%")
    assert line.href == "/?tag=slow&tag=wrong"


@pytest.mark.parametrize(
    ("by", "href"),
    [
        ("dataset", "/?request.dataset=eq%3A%3Cb%3E"),
        ("data.judge", "/?data.judge=eq%3A%3Cb%3E"),
        ("user_id", "/?user_id=%3Cb%3E"),
        ("source", "/?source=%3Cb%3E"),
        ("vote", "/?vote=%3Cb%3E"),
        ("sentiment", "/?sentiment=%3Cb%3E"),
    ],
)
def test_each_name_leads_to_its_requests(by: str, href: str) -> None:
    """Whatever is compared."""
    answer = stats(group({by: "<b>"}, figures(5, 3, 2, share=interval(0.6))), by=by)

    (line,) = comparing(answer, measure_format(SHARE, None), NO_FILTERS).lines

    assert line.href == href
