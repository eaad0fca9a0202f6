"""The overview of the insights page: the figures of a period, and charts over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from markupsafe import Markup

from services.query.dashboard.core import charts, formatting
from services.query.dashboard.core.comparison import SHARE, MeasureFormat, between, counts, measure_format
from services.query.reads.core.filters import Filters
from services.query.reads.core.statistics.figures import Figures, Interval, Span, Stats
from services.query.reads.core.statistics.question import Period, buckets

MINUS = "\N{MINUS SIGN}"

NOTHING = Figures(
    requests=0, with_feedback=0, rated=0, positive=0, neutral=0, negative=0,
    share=None, average=None, not_numbers=None,
)  # fmt: skip


@dataclass(frozen=True)
class StatCard:
    """One figure, its change since the previous period, and a note."""

    title: str
    value: str
    note: str
    before: str
    change: str
    style: str
    """The CSS class of the change."""


@dataclass(frozen=True)
class TrendStep:
    """One time group: its name, its figures, and the address of its log."""

    name: str
    figures: Figures
    previous: Figures | None
    href: str


def unit_for(period: Period) -> str:
    """Return the unit of time groups with a readable number of columns."""
    days = period.length / timedelta(days=1)
    if days <= 2:
        return "hour"
    if days <= 92:
        return "day"
    return "week" if days <= 2 * 366 else "month"


def span_text(span: Span) -> str:
    """Return a period as text: dates, with times unless at midnight."""
    ends = [
        f"{end:%Y-%m-%d}" if end.time() == time.min else f"{end:%Y-%m-%d %H:%M}"
        for end in (span.start, span.end)
    ]
    return f"{ends[0]} to {ends[1]} UTC"


def cards(stats: Stats) -> list[StatCard]:
    """Return the figures of the period."""
    total, before = stats.total, stats.total.previous or NOTHING
    rate = total.with_feedback / total.requests if total.requests else None
    return [
        _counted("Requests", total.requests, before.requests, "with or without feedback"),
        _counted(
            "With feedback",
            total.with_feedback,
            before.with_feedback,
            "of no request" if rate is None else f"{formatting.percent(rate)} of all requests",
        ),
        _measured("Positive", total.share, before.share, measure_format(SHARE, None), points=True),
        _measured("Average rating", total.average, before.average, measure_format("rating", None)),
    ]


def steps(stats: Stats, filters: Filters) -> list[TrendStep]:
    """Return all time groups of the period, also empty ones; of all time, from the first request on."""
    unit = stats.by[0]
    found = {group.key[unit]: group for group in stats.groups}
    period = Period(stats.period.start, stats.period.end)
    names = list(buckets(period, unit, UTC))
    if stats.previous_period is None:
        first = min((name for name in names if name in found), default=names[-1])
        names = names[names.index(first) :]
    ends = [*names[1:], None]
    return [
        TrendStep(
            name,
            found.get(name, NOTHING),
            found[name].previous if name in found else NOTHING if stats.previous_period else None,
            _log(filters, max(_instant(name), period.start), _instant(end) if end else period.end),
        )
        for name, end in zip(names, ends, strict=True)
    ]


def volume(steps: Sequence[TrendStep], unit: str) -> Markup:
    """Return the chart of the volume of feedback."""
    bars = [
        charts.ChartColumn(
            _short_name(step.name, unit),
            _volume_text(step),
            (charts.ChartSegment(step.figures.with_feedback, "is-accent"),),
            step.previous.with_feedback if step.previous else None,
            step.href,
        )
        for step in steps
    ]
    scale = charts.scale_from_zero(
        [
            *(step.figures.with_feedback for step in steps),
            *(step.previous.with_feedback for step in steps if step.previous),
        ]
    )
    return charts.columns(
        f"Requests with feedback per {unit}",
        _extent(steps, lambda figures: figures.with_feedback, "with feedback"),
        bars,
        scale,
        charts.tick_labels(scale),
        "volume",
    )


def sentiments(steps: Sequence[TrendStep], unit: str) -> Markup:
    """Return the chart of the shares of positive, neutral and negative feedback."""
    bars = [
        charts.ChartColumn(
            _short_name(step.name, unit), _sentiment_text(step), _shares(step.figures), None, step.href
        )
        for step in steps
    ]
    scale = charts.ChartScale(0, 1, (0, 0.5, 1))
    return charts.columns(
        f"Positive, neutral and negative feedback per {unit}, in percent",
        _extent(steps, lambda figures: figures.positive, "positive"),
        bars,
        scale,
        ["0", "50%", "100%"],
        "sentiments",
    )


def _counted(title: str, value: int, before: int | None, note: str) -> StatCard:
    change = "" if not before else _signed(100 * (value - before) / before, "%")
    return StatCard(title, formatting.count(value), note, formatting.count(before), change, "is-muted")


def _measured(
    title: str, found: Interval | None, before: Interval | None, read: MeasureFormat, *, points: bool = False
) -> StatCard:
    if found is None:
        note = "no votes on the scale of 1 to 5" if points else "no ratings"
        return StatCard(
            title, formatting.DASH, note, read.words(before.value if before else None), "", "is-muted"
        )
    change, style = "", "is-muted"
    if before is not None:
        apart = found.value - before.value
        change = _signed(100 * apart, " points") if points else _signed(apart, "", "+.2g")
        style = _news(found, before)
    note = f"{between(found, read.words)} (95%), of {formatting.count(found.n)}"
    return StatCard(
        title, read.words(found.value), note, read.words(before.value if before else None), change, style
    )


def _news(found: Interval, before: Interval) -> str:
    """Return the CSS class of a change: coloured only if the two intervals do not overlap."""
    if None in (found.low, found.high, before.low, before.high):
        return "is-muted"
    if (found.low or 0.0) > (before.high or 0.0):
        return "is-positive"
    return "is-negative" if (found.high or 0.0) < (before.low or 0.0) else "is-muted"


def _signed(value: float, unit: str, form: str = "+.1f") -> str:
    shown = f"{value:{form}}" if abs(value) < 100 else f"{value:+,.0f}"
    return f"±0{unit}" if float(shown.replace(",", "")) == 0 else f"{shown.replace('-', MINUS)}{unit}"


def _shares(figures: Figures) -> tuple[charts.ChartSegment, ...]:
    voted = figures.positive + figures.neutral + figures.negative
    return tuple(replace(count, value=count.value / voted) for count in counts(figures)[:3]) if voted else ()


def _volume_text(step: TrendStep) -> str:
    before = "" if step.previous is None else f"; before: {formatting.count(step.previous.with_feedback)}"
    volume = f"{formatting.count(step.figures.with_feedback)} with feedback"
    return f"{step.name}: {volume} of {formatting.count(step.figures.requests)} requests{before}"


def _sentiment_text(step: TrendStep) -> str:
    figures = step.figures
    share = f" ({formatting.percent(figures.share.value)} positive)" if figures.share else ""
    return (
        f"{step.name}: {figures.positive:,} positive, {figures.neutral:,} neutral, "
        f"{figures.negative:,} negative{share}"
    )


def _extent(steps: Sequence[TrendStep], of: Callable[[Figures], int], words: str) -> str:
    """Return the description of a chart."""
    values = [of(step.figures) for step in steps]
    if not any(values):
        return f"None {words} from {steps[0].name} to {steps[-1].name}."
    peak = steps[values.index(max(values))].name
    return (
        f"{sum(values):,} {words} from {steps[0].name} to {steps[-1].name}; most in {peak}: {max(values):,}. "
        "The table below has every value."
    )


def _short_name(name: str, unit: str) -> str:
    moment = _instant(name)
    if unit == "hour":
        return f"{moment:%H:%M}"
    return f"{moment:%b %Y}" if unit == "month" else f"{moment.day} {moment:%b}"


def _instant(name: str) -> datetime:
    if "T" in name:
        return datetime.fromisoformat(name)
    return datetime.combine(datetime.fromisoformat(name).date(), time.min, UTC)


def _log(filters: Filters, start: datetime, end: datetime) -> str:
    return formatting.with_filters("/", replace(filters, last_from=start, last_to=end))
