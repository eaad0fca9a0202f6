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

from services.query.reads.core.cursors import decode, encode
from services.query.reads.core.filters import Filters
from services.query.reads.core.listed import Listing, places_after, rows_after, rows_of
from services.query.reads.core.orders import DEFAULT, Position, parse_order
from services.query.reads.core.rows import item
from services.query.store import Row, Store

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

ROUNDS = (1, 4)
"""How many times as many places as rows are wanted each round looks at.  After the last FINAL decides."""
SPARE = 16
"""Places that a round looks at beside those."""


@dataclass(frozen=True)
class Page:
    """Some rows in order, and the cursor of those after them; None if there are no more."""

    items: list[dict[str, Any]]
    next_cursor: str | None


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
