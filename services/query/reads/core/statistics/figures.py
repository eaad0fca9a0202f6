"""From the rows that ClickHouse answers to figures.  Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from services.query.reads.core.statistics import intervals
from services.query.reads.core.statistics.answers import Compared, Figures, Group, Interval, Span, Stats
from services.query.reads.core.statistics.periods import Period
from services.query.reads.core.statistics.question import Question
from services.query.reads.core.statistics.statement import COUNTS, CURRENT, PREVIOUS, TOTAL, UNDATED

Row = dict[str, Any]


@dataclass(frozen=True)
class Tally:
    """Counts that can be added up, with the sum of the measure and of its squared differences from the mean.

    A sum is None where it is too large for a double.
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

    def __add__(self, other: "Tally") -> "Tally":
        """Return the tally of both, as if they had been counted together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        if self.n == 0 or other.n == 0:
            values = other if self.n == 0 else self
            return Tally(**counts, total=values.total, squares=values.squares)
        return Tally(**counts, total=_plus(self.total, other.total), squares=self._squares_with(other))

    def _squares_with(self, other: "Tally") -> float | None:
        if None in (self.total, other.total, self.squares, other.squares):
            return None
        apart = _number(other.total) / other.n - _number(self.total) / self.n
        between = apart * apart * self.n * other.n / (self.n + other.n)
        return _number(self.squares) + _number(other.squares) + between

    @property
    def with_sentiment(self) -> int:
        """Requests whose rating has a sentiment."""
        return self.positive + self.neutral + self.negative

    def figures(self, question: Question) -> Figures:
        """Return what is told of these requests."""
        return Figures(
            **{name: getattr(self, name) for name in COUNTS if name not in ("n", "not_numbers")},
            not_numbers=None if question.measure.is_column else self.not_numbers,
            share=_interval(intervals.share(self.positive, self.with_sentiment)),
            average=_interval(intervals.average(self.n, self._mean(), self.squares)),
        )

    def _mean(self) -> float | None:
        return None if self.total is None or self.n == 0 else self.total / self.n


@dataclass
class _Pair:
    """The same requests of both periods."""

    key: dict[str, str | None] = field(default_factory=dict)
    current: Tally = field(default_factory=Tally)
    previous: Tally = field(default_factory=Tally)

    def add(self, period: int, tally: Tally) -> None:
        if period == CURRENT:
            self.current += tally
        elif period == PREVIOUS:
            self.previous += tally


def stats_of(question: Question, rows: Iterable[Row]) -> Stats:
    """Return the answer that the rows of the statement give."""
    groups: dict[tuple[str, int], _Pair] = defaultdict(_Pair)
    total, undated, names = _Pair(), 0, 0
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
    question: Question, total: _Pair, shown: list[tuple[int, _Pair]], left_out: int, undated: int
) -> Stats:
    return Stats(
        period=_span(question.periods.current),
        previous_period=_span(question.periods.previous) if question.periods.previous else None,
        time=question.time,
        time_zone=question.zone,
        by=[one.name for one in question.by],
        measure=question.measure.name,
        confidence=intervals.CONFIDENCE,
        total=Compared(**_compared(question, total)),
        groups=[_group(question, pair) for place, pair in shown if place <= question.limit],
        rest=[_group(question, pair) for place, pair in shown if place > question.limit],
        groups_left_out=left_out,
        undated=undated,
    )


def _key(question: Question, row: Row) -> dict[str, str | None]:
    """Return what a group has in common.  What was left out has only its time in common."""
    names = iter(range(len(question.names)))
    key: dict[str, str | None] = {}
    for one in question.by:
        if one.is_time:
            key[one.name] = row["bucket"]
        elif row["place"] <= question.limit:
            key[one.name] = row[f"k{next(names)}"] or None
    return key


def _tally(row: Row) -> Tally:
    spread = row["spread"]
    return Tally(
        **{name: row[name] for name in COUNTS},
        total=row["total"] if row["n"] else 0.0,
        squares=None if spread is None and row["n"] else (spread or 0.0) * row["n"],
    )


def _group(question: Question, pair: _Pair) -> Group:
    return Group(key=pair.key, **_compared(question, pair))


def _compared(question: Question, pair: _Pair) -> dict[str, Any]:
    current = pair.current.figures(question)
    previous = pair.previous.figures(question) if question.periods.previous else None
    return {name: getattr(current, name) for name in Figures.model_fields} | {"previous": previous}


def _interval(estimate: intervals.Estimate | None) -> Interval | None:
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
