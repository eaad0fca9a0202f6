"""Comparison of models, datasets or tags: values with their intervals on one axis."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from markupsafe import Markup

from services.query.dashboard.core import charts, formatting
from services.query.reads.core.filters import Comparison, Filters, Operator
from services.query.reads.core.statistics.figures import Figures, Group, Interval, Stats

SHARE = "share"
"""The one measure that is not a value of requests: the share of positive votes."""

MEASURES = {
    SHARE: "Share of positive votes",
    "rating": "Average rating",
    "latency_ms": "Average latency",
    "cost_usd": "Average cost",
}

DIMENSIONS = {
    "model": "Model",
    "provider": "Provider",
    "dataset": "Prompt dataset",
    "tag": "Tag",
    "source": "Source",
    "user_id": "User",
}

FEW = 30
"""Values of fewer requests are marked as uncertain."""


@dataclass(frozen=True)
class ComparisonLine:
    """One line of a comparison."""

    name: str
    href: str
    picture: Markup
    value: str
    interval: str
    n: int
    is_few: bool
    requests: int
    before: str


@dataclass(frozen=True)
class ComparisonTable:
    """A comparison: its lines, best first, and their axis."""

    lines: tuple[ComparisonLine, ...]
    axis: Markup
    nameless: int
    """Requests without a value of the dimension."""
    left_out: int
    """Names without a line: too few requests, or no value."""


@dataclass(frozen=True)
class MeasureFormat:
    """How a measure is shown: its interval, its format, and whether more is better."""

    interval: Callable[[Figures], Interval | None]
    words: Callable[[float | None], str]
    axis: Callable[[float], str]
    more_is_better: bool = True


def measure_format(measure: str, scale: tuple[float, float] | None) -> MeasureFormat:
    """Return the format of a measure; with a scale, as a percentage of that range."""
    if measure == SHARE:
        return MeasureFormat(lambda figures: figures.share, formatting.percent, _percent)
    if scale is not None:
        return MeasureFormat(
            lambda figures: _scaled(figures.average, scale),
            formatting.percent,
            lambda part: f"{100 * part:.6g}%",
        )
    words, less = {
        "latency_ms": (formatting.milliseconds, True),
        "request.latency_ms": (formatting.milliseconds, True),
        "cost_usd": (formatting.dollars, True),
        "request.cost_usd": (formatting.dollars, True),
    }.get(measure, (formatting.number, False))
    return MeasureFormat(lambda figures: figures.average, words, charts.short, more_is_better=not less)


def _percent(part: float) -> str:
    return f"{100 * part:.6g}%"


def parse_scale(text: str) -> tuple[float, float] | None:
    """Return the two ends of a scale such as `1..2`, or None if it is invalid."""
    low, dots, high = text.partition("..")
    try:
        ends = float(low), float(high)
    except ValueError:
        return None
    return ends if dots and ends[0] != ends[1] and all(abs(end) < 1e300 for end in ends) else None


def comparing(stats: Stats, read: MeasureFormat, filters: Filters) -> ComparisonTable:
    """Return the comparison of the groups of statistics."""
    name = stats.by[0]
    measured = [(group, read.interval(group)) for group in stats.groups if group.key[name] is not None]
    known = [(group, interval) for group, interval in measured if interval is not None]
    known.sort(key=lambda one: one[1].value, reverse=read.more_is_better)
    ends = [end for _, one in known for end in (one.low, one.high, one.value) if end is not None]
    scale = charts.scale_around(ends)
    return ComparisonTable(
        tuple(_line(group, interval, name, read, scale, filters) for group, interval in known),
        charts.axis(scale, [read.axis(tick) for tick in scale.ticks]),
        sum(group.requests for group in stats.groups if group.key[name] is None),
        stats.groups_left_out + len(measured) - len(known),
    )


def ranking(stats: Stats, filters: Filters) -> list[ComparisonLine]:
    """Return the groups of statistics by number of requests, the largest first."""
    name = stats.by[0]
    groups = [group for group in stats.groups if group.key[name] is not None and group.requests]
    highest = max((group.requests for group in groups), default=0)
    return [
        ComparisonLine(
            str(group.key[name]),
            _named(filters, name, str(group.key[name])),
            charts.bar(counts(group), highest),
            formatting.percent(group.share.value) if group.share else formatting.DASH,
            between(group.share, formatting.percent),
            group.share.n if group.share else 0,
            _is_few(group.share),
            group.requests,
            formatting.count(group.previous.requests) if group.previous else formatting.DASH,
        )
        for group in groups
    ]


def _line(
    group: Group,
    interval: Interval,
    name: str,
    read: MeasureFormat,
    scale: charts.ChartScale,
    filters: Filters,
) -> ComparisonLine:
    before = read.interval(group.previous) if group.previous else None
    picture = charts.whisker(
        interval.value,
        interval.low,
        interval.high,
        scale,
        before=before.value if before else None,
        style="is-accent",
    )
    return ComparisonLine(
        str(group.key[name]),
        _named(filters, name, str(group.key[name])),
        picture,
        read.words(interval.value),
        between(interval, read.words),
        interval.n,
        _is_few(interval),
        group.requests,
        read.words(before.value) if before else formatting.DASH,
    )


def between(interval: Interval | None, words: Callable[[float | None], str]) -> str:
    """Return an interval as text."""
    if interval is None or interval.low is None or interval.high is None:
        return formatting.DASH
    return f"{words(interval.low)} to {words(interval.high)}"


def _is_few(interval: Interval | None) -> bool:
    return interval is None or interval.n < FEW


def _scaled(interval: Interval | None, scale: tuple[float, float]) -> Interval | None:
    if interval is None:
        return None
    low, high = scale
    ends = [None if one is None else (one - low) / (high - low) for one in (interval.low, interval.high)]
    if high < low:
        ends.reverse()
    return Interval(value=(interval.value - low) / (high - low), low=ends[0], high=ends[1], n=interval.n)


def counts(figures: Figures) -> tuple[charts.ChartSegment, ...]:
    """Return the requests by sentiment, those without a vote last."""
    voted = figures.positive + figures.neutral + figures.negative
    return (
        charts.ChartSegment(figures.positive, "is-positive"),
        charts.ChartSegment(figures.neutral, "is-neutral"),
        charts.ChartSegment(figures.negative, "is-negative"),
        charts.ChartSegment(figures.requests - voted, "is-muted"),
    )


FIELDS = ("model", "provider", "tag", "source", "vote", "sentiment", "rating")
"""Dimensions with a filter of multiple values."""


def _named(filters: Filters, name: str, value: str) -> str:
    """Return the address of the log of one name's requests."""
    if name in FIELDS:
        chosen = getattr(filters, name)
        if value not in chosen:
            chosen = (*chosen, value) if name == "tag" else (value,)
        return formatting.with_filters("/", replace(filters, **{name: chosen}))
    if name == "user_id":
        return formatting.with_filters("/", replace(filters, user_id=value))
    part, _, key = ("request.dataset" if name == "dataset" else name).partition(".")
    wanted = Comparison(part, key, Operator.EQ, value)
    return formatting.with_filters("/", replace(filters, comparisons=(*filters.comparisons, wanted)))
