"""Reads dead letters."""

from dataclasses import dataclass
from typing import Any

from services.query.reads.core import letters
from services.query.reads.core.letters import Asked, Position, item
from services.query.store import Store


@dataclass(frozen=True)
class Page:
    """Some dead letters, newest first, and the cursor of those after them; None if there are no more."""

    items: list[dict[str, Any]]
    next_cursor: str | None


@dataclass(frozen=True)
class Count:
    """How many dead letters of a reason are open, and when the newest failed."""

    reason: str
    letters: int
    newest: str


async def page_of(
    store: Store,
    tenant: str,
    asked: Asked,
    *,
    limit: int = letters.DEFAULT_LIMIT,
    raw_bytes: int = letters.DEFAULT_RAW_BYTES,
    after: Position | None = None,
) -> Page:
    """Return the dead letters after a position, or the newest; raise Problem."""
    rows = await store.rows(letters.page_statement(tenant, asked, limit + 1, raw_bytes, after))
    shown = rows[:limit]
    erased = await _erased(store, tenant, sorted({row["request_id"] for row in shown}))
    items = [item(row, erased.get(row["request_id"])) for row in shown]
    more = len(rows) > limit
    return Page(items, letters.encode(letters.position_of(shown[-1])) if more else None)


async def counts(store: Store, tenant: str) -> list[Count]:
    """Return how many dead letters are open, by reason; raise Problem."""
    return [Count(**row) for row in await store.rows(letters.counts_statement(tenant))]


async def _erased(store: Store, tenant: str, request_ids: list[str]) -> dict[str, int]:
    if not request_ids:
        return {}
    rows = await store.rows(letters.erased_statement(tenant, request_ids))
    return {row["request_id"]: row["erased"] for row in rows}
