"""What statistics are asked for: periods, dimensions, and the measure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from schemas.limits import MAX_KEY_LENGTH
from services.query.core.problems import ParamFault, invalid
from services.query.reads.core.filters import Filters
from services.runtime.clickhouse.core.statement import SqlParameters

DEFAULT_DAYS = 30
"""The default period in days, today included."""

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UNITS = ("hour", "day", "week", "month")
"""Units of time groups.  Weeks begin on Mondays."""


@dataclass(frozen=True)
class Period:
    """From `start` to before `end`; both in UTC."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True)
class Periods:
    """The requested period, and the previous one; None if that would begin before 1970."""

    current: Period
    previous: Period | None

    @property
    def shift(self) -> timedelta:
        """The distance between the two periods."""
        return self.current.start - self.previous.start if self.previous else timedelta()


def periods(start: datetime | None, end: datetime | None, now: datetime, zone: tzinfo) -> Periods:
    """Return the periods of `from` and `to`; raise QueryProblem if the period is empty.

    Without `to` the period ends now, without `from` it begins 30 days before its end; without both it begins
    at midnight.  The previous period has the same length and ends where this one begins; without `to` it is
    a whole number of days earlier, so that whole days are compared.
    """
    until = end or now
    since = start or (until - DEFAULT_DAYS * DAY if end else _midnight(now, zone, DEFAULT_DAYS - 1))
    if since >= until:
        detail = "it has to be before `to`" if end else "it is in the future"
        raise invalid(ParamFault("from", detail))
    current = Period(since, until)
    return Periods(current, _previous(current, exact=end is not None))


def buckets(period: Period, unit: str, zone: tzinfo) -> Iterator[str]:
    """Yield the name of each time group in the period, in order."""
    if unit == "hour":
        moment = period.start.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        while moment < period.end:
            yield hour_name(moment)
            moment += timedelta(hours=1)
        return
    day = _first_day(period.start.astimezone(zone).date(), unit)
    last = (period.end - timedelta(microseconds=1)).astimezone(zone).date()
    while day <= last:
        yield day.isoformat()
        day = _next_day(day, unit)


def hour_name(moment: datetime) -> str:
    """Return the name of an hour: its beginning in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _previous(current: Period, *, exact: bool) -> Period | None:
    back = current.length
    if not exact and back > DAY:
        back = -(-back // DAY) * DAY
    # Subtracting could leave the range of datetime.
    if current.start - EPOCH < back:
        return None
    return Period(current.start - back, current.end - back)


def _midnight(now: datetime, zone: tzinfo, days_ago: int) -> datetime:
    day = now.astimezone(zone).date() - timedelta(days=days_ago)
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _first_day(day: date, unit: str) -> date:
    match unit:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def _next_day(day: date, unit: str) -> date:
    match unit:
        case "week":
            return day + timedelta(days=7)
        case "month":
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        case _:
            return day + timedelta(days=1)


MAX_DIMENSIONS = 2

_KEY = re.compile(r"(data|request)\.(.+)", re.DOTALL)

COLUMNS = {
    "model": "model",
    "provider": "provider",
    "vote": "vote",
    "sentiment": "sentiment",
    "rating": "ifNull(toString(rating), '')",
    "user_id": "user_id",
}
"""Dimensions with at most one value in a row; as text, empty for none."""

LISTS = {"tag": "tags", "source": "sources"}
"""Dimensions with multiple values in a row."""

ALIASES = {"dataset": "request.dataset", "request.model": "model", "request.provider": "provider"}
"""Aliases: a key that has a column is read from there, which is much faster."""

NAMES = (*UNITS, *COLUMNS, *LISTS, "dataset")

NUMBERS = {
    "rating": "rating",
    "latency_ms": "latency_ms",
    "request.latency_ms": "latency_ms",
    "cost_usd": "cost_usd",
    "request.cost_usd": "cost_usd",
}
"""Measures with a column.  `data.rating` is the key as it was sent, word or number, so it has none."""

DEFAULT_MEASURE = "rating"

_NUMERIC = "('Int64', 'UInt64', 'Double', 'Bool')"


class Dimension(NamedTuple):
    """One dimension to group by; `name` as requested."""

    name: str

    @property
    def target(self) -> str:
        """The name behind an alias."""
        return ALIASES.get(self.name, self.name)

    @property
    def is_time(self) -> bool:
        """Whether groups are time groups."""
        return self.target in UNITS

    @property
    def is_list(self) -> bool:
        """Whether a row may belong to multiple groups."""
        return self.target in LISTS

    def sql(self, places: SqlParameters) -> str:
        """Return the expression of a row's group, a text; of its groups for a list; empty means none."""
        if self.target in COLUMNS:
            return COLUMNS[self.target]
        if self.target in LISTS:
            return LISTS[self.target]
        part, key = _parted(self.target)
        return f"JSONExtract({part}, {places.place(key, 'String')}, 'String')"


class Measure(NamedTuple):
    """A value to average; `name` as requested."""

    name: str

    @property
    def is_column(self) -> bool:
        """Whether `value` is a column, in which values of other types are NULL."""
        return self.name in NUMBERS

    def value(self, places: SqlParameters) -> str:
        """Return the expression of a row's number, or NULL."""
        if self.is_column:
            return NUMBERS[self.name]
        part, key = _parted(self.name)
        place = f"{part}, {places.place(key, 'String')}"
        return f"if(JSONType({place}) IN {_NUMERIC}, JSONExtract({place}, 'Nullable(Float64)'), NULL)"

    def is_other(self, places: SqlParameters) -> str:
        """Return the condition of rows whose value is not a number."""
        if self.is_column:
            return "0"
        part, key = _parted(self.name)
        return f"JSONType({part}, {places.place(key, 'String')}) NOT IN ('Null', {_NUMERIC[1:]}"


def parse_dimensions(names: list[str]) -> tuple[Dimension, ...]:
    """Return the dimensions; raise QueryProblem for unknown names, and for too many."""
    found = tuple(Dimension(name) for name in names)
    if len(found) > MAX_DIMENSIONS:
        raise invalid(ParamFault("by", f"at most {MAX_DIMENSIONS}: groups of groups"))
    for one in found:
        _check(one)
    if len({one.target for one in found}) < len(found):
        raise invalid(ParamFault("by", "each once"))
    if sum(one.is_time for one in found) > 1:
        raise invalid(ParamFault("by", f"one of {', '.join(UNITS)}, not two"))
    return found


def parse_measure(name: str) -> Measure:
    """Return the measure; raise QueryProblem for an unknown name."""
    if name not in NUMBERS and not _is_key(name):
        known = ("rating", "latency_ms", "cost_usd")
        said = f"{name[:40]!r} is none of {', '.join(known)}, data.<key>, request.<key>"
        raise invalid(ParamFault("measure", said + _near(name, known)))
    return Measure(name)


def _check(dimension: Dimension) -> None:
    if dimension.target not in NAMES and not _is_key(dimension.target):
        said = f"{dimension.name[:40]!r} is none of {', '.join(NAMES)}, data.<key>, request.<key>"
        raise invalid(ParamFault("by", said + _near(dimension.name, NAMES)))


def _is_key(name: str) -> bool:
    match = _KEY.fullmatch(name)
    return match is not None and len(match[2]) <= MAX_KEY_LENGTH and "\0" not in name


def _parted(name: str) -> tuple[str, str]:
    part, _, key = name.partition(".")
    return part, key


def _near(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name[:40], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


TIMES = ("last_received_at", "first_received_at", "started_at")
"""The times that `from`, `to` and time groups can refer to."""

DEFAULT_TIME = "last_received_at"

ORDERS = ("requests", "with_feedback", "rated", "share", "average", "key")
ORDER_NAMES = tuple(f"{sign}{name}" for name in ORDERS for sign in ("-", ""))
DEFAULT_ORDER = "-requests"

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

MAX_GROUPS = 50_000
"""The most groups of one answer, time groups and the previous period included."""

MAX_NAME = 1024
"""Names of groups are cut to this many characters: no filter can have a longer value."""


@dataclass(frozen=True)
class StatsQuery:
    """A query for statistics; `filters` are without `from` and `to`, which are in `periods`."""

    tenant: str
    filters: Filters
    periods: Periods
    by: tuple[Dimension, ...]
    measure: Measure
    time: str = DEFAULT_TIME
    zone: str = "UTC"
    order: str = DEFAULT_ORDER
    limit: int = DEFAULT_LIMIT

    @property
    def unit(self) -> str | None:
        """The unit of time groups, or None."""
        return next((one.target for one in self.by if one.is_time), None)

    @property
    def names(self) -> tuple[Dimension, ...]:
        """The dimensions other than time."""
        return tuple(one for one in self.by if not one.is_time)

    @property
    def has_lists(self) -> bool:
        """Whether groups may share rows, so that their sum is not the total."""
        return any(one.is_list for one in self.by)


def time_zone(name: str) -> tzinfo:
    """Return the zone with a name such as `Europe/Berlin`; raise QueryProblem if there is none."""
    if name == "UTC":
        return UTC
    if name not in _zones():
        raise invalid(
            ParamFault("time_zone", f"{name[:40]!r} is not a time zone: UTC, Europe/Berlin, Asia/Kolkata, …")
        )
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    # `localtime` is the zone of this machine, which ClickHouse does not know.
    return frozenset(available_timezones() - {"localtime"})
