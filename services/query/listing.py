"""Pages of rows, in any order, under any filters: quick where the newest of many are asked for.

FINAL reads the whole tenant before it knows the first row of an order.  So a page is found in two steps:

1. the next places in the order, of rows as they are stored, old versions among them (a projection has the
   newest ones at hand, and FINAL cannot use it);
2. the final rows of the ids that stand there, wherever between the start and the last of those places.

Every final row is one of those that are stored, so none is missing up to the last place of step 1.  What old
versions took up is made good by another round from there on; should they be many, FINAL decides alone.
"""

from dataclasses import dataclass
from typing import Any

from services.query.conditions import where
from services.query.cursors import decode, encode
from services.query.filters import Filters
from services.query.orders import DEFAULT, Order, Position, parse_order
from services.query.rows import SELECTED, item
from services.query.statements import Places, Statement
from services.query.store import Row, Store

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

ROUNDS = (1, 4)
"""How many times as many places as rows are wanted each round looks at.  After the last FINAL decides."""
SPARE = 16
"""Places that a round looks at beside those."""
MAX_IDS = 100
"""Ids that one parameter holds: a server takes 128 KiB of each."""


@dataclass(frozen=True)
class Page:
    """Some rows in order, and the cursor of those after them; None if there are no more."""

    items: list[dict[str, Any]]
    next_cursor: str | None


@dataclass(frozen=True)
class Listing:
    """What is listed: whose rows, which, in which order."""

    tenant: str
    filters: Filters
    order: Order


async def page_of(
    store: Store,
    tenant: str,
    filters: Filters,
    *,
    order: str = DEFAULT,
    limit: int = DEFAULT_LIMIT,
    cursor: str = "",
) -> Page:
    """Return the page after a cursor, or the first one; `limit` is 1 to 1,000.

    Raise Problem for an order that there is not, and for a cursor of another question.
    """
    listing = Listing(tenant, filters, parse_order(order))
    start = decode(cursor, tenant, filters, listing.order) if cursor else None
    found = await _rows(store, listing, start, limit + 1)
    shown = found[:limit]
    more = len(found) > limit
    end = listing.order.position(shown[-1]) if more else None
    return Page([item(row) for row in shown], encode(tenant, filters, listing.order, end) if end else None)


async def _rows(store: Store, listing: Listing, start: Position | None, wanted: int) -> list[Row]:
    """Return the first rows after a position."""
    found: list[Row] = []
    for share in ROUNDS:
        sought = share * (wanted - len(found)) + SPARE
        places = await store.rows(places_after(listing, start, sought))
        if places:
            end = listing.order.position(places[-1])
            ids = list(dict.fromkeys(place["request_id"] for place in places))
            found = _joined(found, await store.rows(rows_of(listing, ids, start, end)))
            start = end
        if len(places) < sought or len(found) >= wanted:
            return found[:wanted]
    return _joined(found, await store.rows(rows_after(listing, start, wanted - len(found))))


def _joined(found: list[Row], more: list[Row]) -> list[Row]:
    """Return all rows.  One that moved on between two rounds is found by both, and shown where it is now."""
    again = {row["request_id"] for row in more}
    return [row for row in found if row["request_id"] not in again] + more


def places_after(listing: Listing, start: Position | None, count: int) -> Statement:
    """Return the question for the next places in the order, those of old versions among them."""
    values = Places()
    condition = _condition(listing, start, None, values)
    column = "" if listing.order.column == "request_id" else f", {listing.order.column}"
    return Statement(
        f"SELECT request_id{column} FROM feedback_state WHERE {condition} "
        f"ORDER BY {listing.order.sql} LIMIT {count}",
        values.parameters,
    )


def rows_of(listing: Listing, ids: list[str], start: Position | None, end: Position) -> Statement:
    """Return the question for the final rows of some ids that stand after `start`, up to `end`."""
    values = Places()
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
    values = Places()
    condition = _condition(listing, start, None, values)
    return Statement(
        f"SELECT {SELECTED} FROM feedback_state FINAL WHERE {condition} "
        f"ORDER BY {listing.order.sql} LIMIT {count}",
        values.parameters,
    )


def _condition(listing: Listing, start: Position | None, end: Position | None, values: Places) -> str:
    parts = [where(listing.tenant, listing.filters, values).sql]
    if start is not None:
        parts.append(listing.order.after(start, values))
    if end is not None:
        parts.append(listing.order.up_to(end, values))
    return " AND ".join(parts)
