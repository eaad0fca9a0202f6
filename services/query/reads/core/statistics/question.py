"""What statistics are asked for.  Pure."""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from services.query.core.problems import Fault, invalid
from services.query.reads.core.filters import Filters
from services.query.reads.core.statistics.dimensions import Dimension, Measure
from services.query.reads.core.statistics.periods import Periods

TIMES = ("last_received_at", "first_received_at", "started_at")
"""What `from`, `to` and the stretches of time can go by."""

DEFAULT_TIME = "last_received_at"

ORDERS = ("requests", "with_feedback", "rated", "share", "average", "key")
ORDER_NAMES = tuple(f"{sign}{name}" for name in ORDERS for sign in ("-", ""))
DEFAULT_ORDER = "-requests"

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

MAX_GROUPS = 50_000
"""Groups of one answer, stretches of time and the previous period included."""

MAX_NAME = 1024
"""Characters of a group's name, which is cut there: no filter could name a longer one."""


@dataclass(frozen=True)
class Question:
    """Whose rows, which, grouped how; `filters` without `from` and `to`, which `periods` holds."""

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
        """The stretches of time that are asked for."""
        return next((one.target for one in self.by if one.is_time), None)

    @property
    def names(self) -> tuple[Dimension, ...]:
        """What else is grouped by."""
        return tuple(one for one in self.by if not one.is_time)

    @property
    def has_lists(self) -> bool:
        """Groups may share rows, so that they do not add up to all rows."""
        return any(one.is_list for one in self.by)


def time_zone(name: str) -> tzinfo:
    """Return the zone with a name such as `Europe/Berlin`; raise Problem if there is none."""
    if name == "UTC":
        return UTC
    if name not in _zones():
        raise invalid(Fault("time_zone", f"{name[:40]!r} is no zone: UTC, Europe/Berlin, Asia/Kolkata, …"))
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    # The machine's own zone has a name here, which ClickHouse does not know.
    return frozenset(available_timezones() - {"localtime"})
