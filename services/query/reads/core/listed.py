"""What is asked for one page of rows: places in the order, and the rows that stand there.  Pure."""

from dataclasses import dataclass

from services.query.reads.core.filters import Filters
from services.query.reads.core.orders import Order, Position
from services.query.reads.core.rows import SELECTED
from services.query.reads.core.sql import where
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

MAX_IDS = 100
"""Ids that one parameter holds: a server takes 128 KiB of each."""


@dataclass(frozen=True)
class Listing:
    """What is listed: whose rows, which, in which order."""

    tenant: str
    filters: Filters
    order: Order


def places_after(listing: Listing, start: Position | None, count: int) -> Statement:
    """Return the question for the next places in the order, those of old versions among them."""
    values = SqlParameters()
    condition = _condition(listing, start, None, values)
    column = "" if listing.order.column == "request_id" else f", {listing.order.column}"
    return Statement(
        f"SELECT request_id{column} FROM feedback_state WHERE {condition} "
        f"ORDER BY {listing.order.sql} LIMIT {count}",
        values.parameters,
    )


def rows_of(listing: Listing, ids: list[str], start: Position | None, end: Position) -> Statement:
    """Return the question for the final rows of some ids that stand after `start`, up to `end`."""
    values = SqlParameters()
    condition = _condition(listing, start, end, values)
    among = " OR ".join(f"request_id IN {values.place(part, 'Array(String)')}" for part in _parts(ids))
    return Statement(
        f"SELECT {SELECTED} FROM feedback_state FINAL WHERE {condition} AND ({among}) "
        f"ORDER BY {listing.order.sql}",
        values.parameters,
    )


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]


def rows_after(listing: Listing, start: Position | None, count: int) -> Statement:
    """Return the question for the final rows after a position, whatever it takes."""
    values = SqlParameters()
    condition = _condition(listing, start, None, values)
    return Statement(
        f"SELECT {SELECTED} FROM feedback_state FINAL WHERE {condition} "
        f"ORDER BY {listing.order.sql} LIMIT {count}",
        values.parameters,
    )


def _condition(listing: Listing, start: Position | None, end: Position | None, values: SqlParameters) -> str:
    parts = [where(listing.tenant, listing.filters, values).sql]
    if start is not None:
        parts.append(listing.order.after(start, values))
    if end is not None:
        parts.append(listing.order.up_to(end, values))
    return " AND ".join(parts)
