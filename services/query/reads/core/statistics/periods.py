"""Which stretch of time is counted, and which one stands beside it.  Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from services.query.core.problems import Fault, invalid

DEFAULT_DAYS = 30
"""What is counted when no time is named: so many days, today among them."""

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UNITS = ("hour", "day", "week", "month")
"""Stretches that times are grouped by.  Weeks begin on Mondays."""


@dataclass(frozen=True)
class Period:
    """From `start` on, up to but not including `end`; both in UTC."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True)
class Periods:
    """The period that is asked for, and the one before it; None where that would begin before 1970."""

    current: Period
    previous: Period | None

    @property
    def shift(self) -> timedelta:
        """How far the previous period lies back: added to its times, it is laid over the current one."""
        return self.current.start - self.previous.start if self.previous else timedelta()


def periods(start: datetime | None, end: datetime | None, now: datetime, zone: tzinfo) -> Periods:
    """Return the periods that `from` and `to` name; raise Problem if they leave no time between them.

    Without `to` the period ends now, without `from` it begins 30 days before its end; without either its
    first day is a whole one.  The previous period is as long, and ends where this one begins; but where
    `to` is left out it lies a whole number of days back, so that each day is compared with a day.
    """
    until = end or now
    since = start or (until - DEFAULT_DAYS * DAY if end else _midnight(now, zone, DEFAULT_DAYS - 1))
    if since >= until:
        said = "it has to be before `to`" if end else "it lies in the future"
        raise invalid(Fault("from", said))
    current = Period(since, until)
    return Periods(current, _previous(current, exact=end is not None))


def buckets(period: Period, unit: str, zone: tzinfo) -> Iterator[str]:
    """Yield the name of each unit that the period touches, in order, as statistics name their groups."""
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
    """Return how statistics name an hour: its beginning, in UTC."""
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
