"""Reads pages of rows in any order under any filters; fast where the newest of many are requested.

FINAL reads all rows of the tenant before it returns the first of an order.  So a page takes two steps:

1. select the next positions of stored rows, old versions included (a projection has the newest ones in
   order, and FINAL cannot use it);
2. select the final rows of these request ids, between the start and the last of those positions.

Every final row is a stored row, so none is missing up to the last position of step 1.  If old versions
leave too few rows, another round starts from there; after the last round FINAL selects the rest alone.
"""

from dataclasses import dataclass
from typing import Any

from services.query.reads.core.filters import Filters
from services.query.reads.core.listing import (
    DEFAULT_ORDER,
    Listing,
    ListPosition,
    decode,
    encode,
    parse_order,
    places_after,
    rows_after,
    rows_of,
)
from services.query.reads.core.sql import item
from services.query.store import QueryStore, Row

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

ROUNDS = (1, 4)
"""Positions that each round selects, as a multiple of the rows still missing."""
SPARE = 16
"""Positions that a round selects in addition."""


@dataclass(frozen=True)
class RowPage:
    """A page of rows in order, and the cursor of the next one; None on the last."""

    items: list[dict[str, Any]]
    next_cursor: str | None


async def page_of(
    store: QueryStore,
    tenant: str,
    filters: Filters,
    *,
    order: str = DEFAULT_ORDER,
    limit: int = DEFAULT_LIMIT,
    cursor: str = "",
) -> RowPage:
    """Return the page after a cursor, or the first one; `limit` is 1 to 1,000.

    Raise QueryProblem for an unknown order, and for a cursor of another query.
    """
    listing = Listing(tenant, filters, parse_order(order))
    start = decode(cursor, tenant, filters, listing.order) if cursor else None
    read = await _rows(store, listing, start, limit + 1)
    shown = read[:limit]
    more = len(read) > limit
    end = listing.order.position(shown[-1]) if more else None
    return RowPage([item(row) for row in shown], encode(tenant, filters, listing.order, end) if end else None)


async def _rows(store: QueryStore, listing: Listing, start: ListPosition | None, wanted: int) -> list[Row]:
    """Return the first rows after a position."""
    rows: list[Row] = []
    for share in ROUNDS:
        sought = share * (wanted - len(rows)) + SPARE
        places = await store.rows(places_after(listing, start, sought))
        if places:
            end = listing.order.position(places[-1])
            ids = list(dict.fromkeys(place["request_id"] for place in places))
            rows = _joined(rows, await store.rows(rows_of(listing, ids, start, end)))
            start = end
        if len(places) < sought or len(rows) >= wanted:
            return rows[:wanted]
    return _joined(rows, await store.rows(rows_after(listing, start, wanted - len(rows))))


def _joined(rows: list[Row], more: list[Row]) -> list[Row]:
    """Return all rows.  One that moved between two rounds is in both, and is kept where it is now."""
    again = {row["request_id"] for row in more}
    return [row for row in rows if row["request_id"] not in again] + more
