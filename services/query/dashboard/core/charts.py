"""Charts as SVG.

Widths are percentages, so that a chart fills its container and its text keeps its size on any screen.
Colours come from CSS classes, as the Content-Security-Policy forbids inline styles.  Every text goes through
`Markup.format`, which escapes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

from services.query.dashboard.core.formatting import number

GAP = 0.18
"""The part of a column's width that is a gap."""

EDGE = 14
"""Pixels above the plot, for the uppermost label, and below it, for those of the columns."""


@dataclass(frozen=True)
class ChartScale:
    """The range of an axis, and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...] = ()

    def part(self, value: float) -> float:
        """Return the position of a value from 0 to 1, clamped."""
        if self.high <= self.low:
            return 0.5
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


@dataclass(frozen=True)
class ChartSegment:
    """A part of a column: its height, and the CSS class of its colour."""

    value: float
    style: str


@dataclass(frozen=True)
class ChartColumn:
    """A column for one time group: stacked segments, and the previous value."""

    label: str
    """Below it, where there is room."""
    description: str
    """Its description, shown on hover."""
    segments: tuple[ChartSegment, ...]
    mark: float | None = None
    """The value of the previous period, drawn as a line."""
    href: str = ""


def scale_from_zero(values: Iterable[float]) -> ChartScale:
    """Return an axis for counts: from 0 to a round number at or above the highest."""
    highest = max((value for value in values if isfinite(value)), default=0.0)
    if highest <= 0:
        return ChartScale(0, 1, (0, 1))
    step = max(1.0, _round_step(highest / 3))
    steps = ceil(highest / step)
    return ChartScale(0, steps * step, tuple(step * one for one in range(steps + 1)))


def scale_around(values: Iterable[float]) -> ChartScale:
    """Return an axis that includes all values, between round numbers, not necessarily from 0."""
    known = [value for value in values if isfinite(value)]
    if not known:
        return ChartScale(0, 1, (0, 1))
    low, high = min(known), max(known)
    spread = (high - low) or abs(high) or 1.0
    step = _round_step(spread / 3)
    first, last = floor(low / step), ceil(high / step)
    if not (isfinite(step) and step > 0) or first == last or last - first > 20:
        return ChartScale(low, high, (low, high))
    return ChartScale(first * step, last * step, tuple(one * step for one in range(first, last + 1)))


def columns(
    title: str,
    description: str,
    bars: Sequence[ChartColumn],
    scale: ChartScale,
    labels: Sequence[str],
    name: str,
) -> Markup:
    """Return a chart of stacked columns over time.

    `labels` are those of the ticks; `name` is unique on the page and links the title to the chart.
    """
    inner = Markup().join(
        [
            *(_rule(scale, tick) for tick in scale.ticks),
            *(_column(bar, place, len(bars), scale) for place, bar in enumerate(bars)),
            *(_label(scale, tick, text) for tick, text in zip(scale.ticks, labels, strict=True)),
            *_captions(bars),
        ]
    )
    return Markup(
        '<svg class="chart plot" role="img" aria-labelledby="{name}-title {name}-told">'
        '<title id="{name}-title">{title}</title><desc id="{name}-told">{told}</desc>{inner}</svg>'
    ).format(name=name, title=title, told=description, inner=inner)


def whisker(
    value: float,
    low: float | None,
    high: float | None,
    scale: ChartScale,
    *,
    before: float | None,
    style: str,
) -> Markup:
    """Return one line of a comparison: a dot, its interval, and a ring for the previous period.

    It is hidden from screen readers, as its row has the same values as text.
    """
    parts = [
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="100%"/>').format(_percent(scale.part(tick)))
        for tick in scale.ticks
    ]
    if before is not None:
        parts.append(
            Markup('<circle class="ring" cx="{0}" cy="50%" r="4"/>').format(_percent(scale.part(before)))
        )
    if low is not None and high is not None:
        parts.append(_interval(scale.part(low), scale.part(high)))
    parts.append(
        Markup('<circle class="dot" cx="{0}" cy="50%" r="4.5"/>').format(_percent(scale.part(value)))
    )
    return Markup('<svg class="chart whiskers {0}" aria-hidden="true">{1}</svg>').format(
        style, Markup().join(parts)
    )


def axis(scale: ChartScale, labels: Sequence[str]) -> Markup:
    """Return the axis of a comparison, shared by all its rows."""
    last = len(scale.ticks) - 1
    texts = [
        Markup('<text class="tick" x="{0}" y="12" text-anchor="{1}">{2}</text>').format(
            _percent(scale.part(tick)), "start" if place == 0 else "end" if place == last else "middle", text
        )
        for place, (tick, text) in enumerate(zip(scale.ticks, labels, strict=True))
        if place in (0, last) or last < 5
    ]
    return Markup('<svg class="chart ticks" aria-hidden="true">{0}</svg>').format(Markup().join(texts))


def bar(segments: Sequence[ChartSegment], highest: float) -> Markup:
    """Return one line of a ranking: a stacked bar, scaled to the highest."""
    parts, start = [], 0.0
    for segment in segments:
        width = segment.value / highest if highest > 0 else 0.0
        if width > 0:
            parts.append(
                Markup('<rect class="bar {0}" x="{1}" y="4" width="{2}" height="12"/>').format(
                    segment.style, _percent(start), _percent(width)
                )
            )
        start += width
    return Markup('<svg class="chart rank" aria-hidden="true">{0}</svg>').format(Markup().join(parts))


def tick_labels(scale: ChartScale) -> list[str]:
    """Return the values of an axis's ticks, short."""
    return [short(tick) for tick in scale.ticks]


def short(value: float) -> str:
    """Return a number in a short form: 12, 1.5k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and abs(value) < 1e15:
            return f"{value / size:.3g}{letter}"
    return number(float(f"{value:.6g}"))


def _rule(scale: ChartScale, tick: float) -> Markup:
    style = "axis" if tick == scale.low else "grid"
    return Markup('<line class="{0}" x1="0" x2="100%" y1="{1}" y2="{1}"/>').format(
        style, _height(scale.part(tick))
    )


def _label(scale: ChartScale, tick: float, label: str) -> Markup:
    return Markup('<text class="tick value" x="-8" y="{0}" dy="4">{1}</text>').format(
        _height(scale.part(tick)), label
    )


def _column(one: ChartColumn, place: int, count: int, scale: ChartScale) -> Markup:
    left, width = (place + GAP / 2) / count, (1 - GAP) / count
    parts, below = [Markup("<title>{0}</title>").format(one.description)], 0.0
    for segment in one.segments:
        top = below + segment.value
        if segment.value > 0:
            upper, lower = scale.part(top), scale.part(below)
            parts.append(
                Markup('<rect class="bar {0}" x="{1}" y="{2}" width="{3}" height="{4}"/>').format(
                    segment.style, _percent(left), _height(upper), _percent(width), _length(upper - lower)
                )
            )
        below = top
    # The hover area, also of a low column.
    parts.append(
        Markup('<rect class="hit" x="{0}" y="0" width="{1}" height="100%"/>').format(
            _percent(place / count), _percent(1 / count)
        )
    )
    if one.mark is not None:
        parts.append(
            Markup('<line class="before" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(
                _percent(left), _percent(left + width), _height(scale.part(one.mark))
            )
        )
    inner = Markup().join(parts)
    if not one.href:
        return Markup("<g>{0}</g>").format(inner)
    return Markup('<a href="{0}" tabindex="-1">{1}</a>').format(one.href, inner)


def _captions(bars: Sequence[ChartColumn]) -> Iterable[Markup]:
    """Yield the labels below the first, the middle and the last column."""
    last = len(bars) - 1
    places = {0: "start", last // 2: "middle", last: "end"} if last >= 4 else {0: "start", last: "end"}
    if last == 0:
        places = {0: "middle"}
    for place, anchor in places.items():
        if place < 0:
            continue
        x = {"start": 0.0, "end": 1.0}.get(anchor, (place + 0.5) / len(bars))
        yield Markup('<text class="tick" x="{0}" y="100%" dy="-1" text-anchor="{1}">{2}</text>').format(
            _percent(x), anchor, bars[place].label
        )


def _interval(low: float, high: float) -> Markup:
    return Markup(
        '<line class="whisker" x1="{0}" x2="{1}" y1="50%" y2="50%"/>'
        '<line class="whisker" x1="{0}" x2="{0}" y1="30%" y2="70%"/>'
        '<line class="whisker" x1="{1}" x2="{1}" y1="30%" y2="70%"/>'
    ).format(_percent(low), _percent(high))


def _round_step(step: float) -> float:
    """Return the next of 1, 2, 2.5, 5, 10, … times a power of ten."""
    size = 10.0 ** floor(log10(step)) if step > 0 and isfinite(step) else 1.0
    return next((one * size for one in (1, 2, 2.5, 5) if one * size >= step * (1 - 1e-9)), 10 * size)


PLOT = 158
"""Pixels from the axis to the top of the scale; the class `plot` leaves room for labels on both sides."""


def _height(part: float) -> str:
    """Return the distance from the top in pixels."""
    return f"{EDGE + PLOT * (1 - part):.2f}"


def _length(part: float) -> str:
    return f"{PLOT * part:.2f}"


def _percent(part: float) -> str:
    return f"{100 * part:.3f}%"
