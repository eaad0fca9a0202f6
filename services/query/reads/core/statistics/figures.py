"""Figures of statistics: models, confidence intervals, and their computation from ClickHouse's rows.

A share has Wilson's interval, which stays within 0 and 1 and is right for few votes, too.  An average has
Student's: it assumes that averages of that many values spread like a normal distribution, which ratings on
a short scale do from about ten values on.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from math import isfinite, sqrt
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from services.query.reads.core.statistics.question import Period, StatsQuery
from services.query.reads.core.statistics.statement import COUNTS, CURRENT, PREVIOUS, TOTAL, UNDATED

Count = Annotated[int, Field(ge=0)]


class _StatsModel(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, from_attributes=True)


class Interval(_StatsModel):
    """A share or an average with its 95% confidence interval."""

    value: float
    low: float | None = Field(description="The lower end of the interval; null for a single value.")
    high: float | None = Field(description="The upper end.")
    n: Count = Field(description="The number of requests.")


class Figures(_StatsModel):
    """Figures of some requests; `share` and `average` are null without values."""

    requests: Count = Field(description="Requests.")
    with_feedback: Count = Field(description="Requests with any feedback.")
    rated: Count = Field(description="Requests with a rating that is a number.")
    positive: Count = Field(description="Requests with a positive sentiment.")
    neutral: Count = Field(description="Requests with a neutral one.")
    negative: Count = Field(description="Requests with a negative one.")
    share: Interval | None = Field(
        description="Positive requests of those with a sentiment, from 0 to 1, with Wilson's interval."
    )
    average: Interval | None = Field(description="The average of the measure, with Student's interval.")
    not_numbers: Count | None = Field(
        description="Requests whose value of the measure is not a number, and does not count in `average`; "
        "null for a measure that the table has a column for, which leaves such values out."
    )


class Compared(Figures):
    """Figures of the period and of the previous one."""

    previous: Figures | None = Field(description="The same in the previous period; null if there is none.")


class _Keyed(_StatsModel):
    key: dict[str, str | None] = Field(
        description="The common values by the names in `by`; null for requests without a value. "
        "An hour by its beginning in UTC, a day by its date, a week and a month by that of their first day."
    )


class Group(Compared, _Keyed):
    """Figures of one group."""


class Span(_StatsModel):
    """A period."""

    start: datetime = Field(alias="from", description="Its beginning.")
    end: datetime = Field(alias="to", description="Its end, which is not part of it.")


class Stats(_StatsModel):
    """Statistics of a period and of the previous one."""

    period: Span
    previous_period: Span | None = Field(description="As long, and before; null if that is before 1970.")
    time: str = Field(description="The time of a request that both periods, and days, go by.")
    time_zone: str = Field(description="Where days, weeks and months begin.")
    by: list[str]
    measure: str
    confidence: float = Field(description="How often an interval holds the true value.")
    total: Compared = Field(description="All requests of the period, each counted once.")
    groups: list[Group] = Field(description="By time, then in the order asked for. Empty ones are left out.")
    rest: list[Group] = Field(
        description="The sum of the groups beyond `limit`; by time if grouped by time. "
        "Where a request belongs to several of these groups (tags), it counts once in each."
    )
    groups_left_out: Count = Field(description="How many names are summed in `rest`.")
    undated: Count = Field(
        description="Matching requests whose time is unknown: in no period, and not counted anywhere else."
    )


CONFIDENCE = 0.95

Z = 1.959963984540054
"""The quantile of the normal distribution that 2.5 % lie above."""

_T = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139),
    *(2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963),
)
"""The same quantile of Student's distribution, for 1 to 20 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A value, its confidence interval, and the number of observations.

    `low` and `high` are None with too few observations.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def share(hits: int, n: int) -> Estimate | None:
    """Return the share of hits among `n` with Wilson's interval; None if `n` is 0."""
    if n == 0:
        return None
    part, square = hits / n, Z * Z
    middle = (part + square / (2 * n)) / (1 + square / n)
    reach = Z / (1 + square / n) * sqrt(part * (1 - part) / n + square / (4 * n * n))
    # At 0 and 1, rounding would leave a tiny interval.
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    high = 1.0 if hits == n else min(1.0, middle + reach)
    return Estimate(part, low, high, n)


def average(n: int, mean: float | None, squares: float | None) -> Estimate | None:
    """Return the average of `n` values with Student's interval; None of nothing.

    `squares` is the sum of the squared differences from the mean.  Values that are too large for a double
    have no average.
    """
    if n == 0 or mean is None or not isfinite(mean):
        return None
    if n == 1 or squares is None or not isfinite(squares):
        return Estimate(mean, None, None, n)
    reach = student(n - 1) * sqrt(max(0.0, squares) / (n - 1) / n)
    return Estimate(mean, mean - reach, mean + reach, n)


def student(freedom: int) -> float:
    """Return the quantile of Student's distribution that 2.5 % lie above; exact to 5 digits at least."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    # The expansion in powers of 1/freedom around the normal quantile (Cornish and Fisher).
    z, f = Z, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / f + second / f**2 + third / f**3 + fourth / f**4


Row = dict[str, Any]


@dataclass(frozen=True)
class GroupTally:
    """Counts that can be added, with the sum of the measure and of its squared differences from the mean.

    A sum is None if it is too large for a double.
    """

    requests: int = 0
    with_feedback: int = 0
    rated: int = 0
    positive: int = 0
    neutral: int = 0
    negative: int = 0
    n: int = 0
    not_numbers: int = 0
    total: float | None = 0.0
    squares: float | None = 0.0

    def __add__(self, other: "GroupTally") -> "GroupTally":
        """Return the tally of both groups together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        if self.n == 0 or other.n == 0:
            values = other if self.n == 0 else self
            return GroupTally(**counts, total=values.total, squares=values.squares)
        return GroupTally(**counts, total=_plus(self.total, other.total), squares=self._squares_with(other))

    def _squares_with(self, other: "GroupTally") -> float | None:
        if None in (self.total, other.total, self.squares, other.squares):
            return None
        apart = _number(other.total) / other.n - _number(self.total) / self.n
        between = apart * apart * self.n * other.n / (self.n + other.n)
        return _number(self.squares) + _number(other.squares) + between

    @property
    def with_sentiment(self) -> int:
        """Requests whose rating has a sentiment."""
        return self.positive + self.neutral + self.negative

    def figures(self, question: StatsQuery) -> Figures:
        """Return the figures of these requests."""
        return Figures(
            **{name: getattr(self, name) for name in COUNTS if name not in ("n", "not_numbers")},
            not_numbers=None if question.measure.is_column else self.not_numbers,
            share=_interval(share(self.positive, self.with_sentiment)),
            average=_interval(average(self.n, self._mean(), self.squares)),
        )

    def _mean(self) -> float | None:
        return None if self.total is None or self.n == 0 else self.total / self.n


@dataclass
class _TwoPeriods:
    """The tallies of a group in both periods."""

    key: dict[str, str | None] = field(default_factory=dict)
    current: GroupTally = field(default_factory=GroupTally)
    previous: GroupTally = field(default_factory=GroupTally)

    def add(self, period: int, tally: GroupTally) -> None:
        if period == CURRENT:
            self.current += tally
        elif period == PREVIOUS:
            self.previous += tally


def stats_of(question: StatsQuery, rows: Iterable[Row]) -> Stats:
    """Return the answer from the rows of the statement."""
    groups: dict[tuple[str, int], _TwoPeriods] = defaultdict(_TwoPeriods)
    total, undated, names = _TwoPeriods(), 0, 0
    for row in rows:
        tally, place = _tally(row), row["place"]
        names = max(names, row["names"])
        if question.has_lists == (place == TOTAL):
            total.add(row["period"], tally)
            undated += tally.requests if row["period"] == UNDATED else 0
        if place != TOTAL and row["period"] != UNDATED:
            pair = groups[str(row["bucket"]), place]
            pair.key = _key(question, row)
            pair.add(row["period"], tally)
    shown = [(place, pair) for (_, place), pair in sorted(groups.items(), key=lambda one: one[0])]
    if not question.by:
        shown = []
    return _stats(question, total, shown, max(0, names - question.limit), undated)


def _stats(
    question: StatsQuery,
    total: _TwoPeriods,
    shown: list[tuple[int, _TwoPeriods]],
    left_out: int,
    undated: int,
) -> Stats:
    return Stats(
        period=_span(question.periods.current),
        previous_period=_span(question.periods.previous) if question.periods.previous else None,
        time=question.time,
        time_zone=question.zone,
        by=[one.name for one in question.by],
        measure=question.measure.name,
        confidence=CONFIDENCE,
        total=Compared(**_compared(question, total)),
        groups=[_group(question, pair) for place, pair in shown if place <= question.limit],
        rest=[_group(question, pair) for place, pair in shown if place > question.limit],
        groups_left_out=left_out,
        undated=undated,
    )


def _key(question: StatsQuery, row: Row) -> dict[str, str | None]:
    """Return the key of a group; of groups beyond the limit, only the time."""
    names = iter(range(len(question.names)))
    key: dict[str, str | None] = {}
    for one in question.by:
        if one.is_time:
            key[one.name] = row["bucket"]
        elif row["place"] <= question.limit:
            key[one.name] = row[f"k{next(names)}"] or None
    return key


def _tally(row: Row) -> GroupTally:
    spread = row["spread"]
    return GroupTally(
        **{name: row[name] for name in COUNTS},
        total=row["total"] if row["n"] else 0.0,
        squares=None if spread is None and row["n"] else (spread or 0.0) * row["n"],
    )


def _group(question: StatsQuery, pair: _TwoPeriods) -> Group:
    return Group(key=pair.key, **_compared(question, pair))


def _compared(question: StatsQuery, pair: _TwoPeriods) -> dict[str, Any]:
    current = pair.current.figures(question)
    previous = pair.previous.figures(question) if question.periods.previous else None
    return {name: getattr(current, name) for name in Figures.model_fields} | {"previous": previous}


def _interval(estimate: Estimate | None) -> Interval | None:
    if estimate is None:
        return None
    return Interval(**{one.name: getattr(estimate, one.name) for one in fields(estimate)})


def _span(period: Period) -> Span:
    return Span(start=period.start, end=period.end)


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _number(value: float | None) -> float:
    assert value is not None  # noqa: S101 (for types)
    return value
