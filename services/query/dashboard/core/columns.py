"""The columns of the request log, and how each is sorted.  Pure."""

from dataclasses import dataclass

from services.query.dashboard.core.formatting import with_filters
from services.query.reads.core.filters import Filters
from services.query.reads.core.orders import DEFAULT, Order

_COLUMNS = (
    ("Last feedback", "last_received_at", "-"),
    ("Vote", "rating", "-"),
    ("Request", "request_id", ""),
    ("Model", "model", ""),
    ("Comment and tags", "", ""),
    ("Latency", "latency_ms", "-"),
    ("Cost", "cost_usd", "-"),
)
"""Title, what it is ordered by, and the direction that is tried first."""

_NUMBERS = ("latency_ms", "cost_usd")


@dataclass(frozen=True)
class Column:
    """One column's head."""

    title: str
    href: str
    """Where the log is ordered by it, or the other way round; empty if it cannot be."""
    sorted: str
    """`ascending`, `descending`, or empty: as `aria-sort` has it."""
    is_number: bool


def columns(filters: Filters, order: Order) -> tuple[Column, ...]:
    """Return all heads, under these filters and this order."""
    return tuple(_column(title, name, first, filters, order) for title, name, first in _COLUMNS)


def _column(title: str, name: str, first: str, filters: Filters, order: Order) -> Column:
    if not name:
        return Column(title, "", "", is_number=False)
    is_here = order.column == name
    wanted = f"{'' if order.descending else '-'}{name}" if is_here else f"{first}{name}"
    href = with_filters("/", filters, order="" if wanted == DEFAULT else wanted)
    way = ("descending" if order.descending else "ascending") if is_here else ""
    return Column(title, href, way, is_number=name in _NUMBERS)
