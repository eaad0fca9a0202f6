"""Reads dead letters in pages, and counts the open ones."""

from dataclasses import dataclass
from typing import Any

from services.query.reads.core import dead_letters
from services.query.reads.core.dead_letters import DeadLetterFilter, DeadLetterPosition, item
from services.query.store import QueryStore


@dataclass(frozen=True)
class DeadLetterPage:
    """A page of dead letters, newest first, and the cursor of the next one; None on the last."""

    items: list[dict[str, Any]]
    next_cursor: str | None


@dataclass(frozen=True)
class ReasonCount:
    """Open dead letters of one reason, and when the newest failed."""

    reason: str
    letters: int
    newest: str


async def page_of(
    store: QueryStore,
    tenant: str,
    asked: DeadLetterFilter,
    *,
    limit: int = dead_letters.DEFAULT_LIMIT,
    raw_bytes: int = dead_letters.DEFAULT_RAW_BYTES,
    after: DeadLetterPosition | None = None,
) -> DeadLetterPage:
    """Return the dead letters after a position, or the newest; raise QueryProblem."""
    rows = await store.rows(dead_letters.page_statement(tenant, asked, limit + 1, raw_bytes, after))
    shown = rows[:limit]
    erased = await _erased(store, tenant, sorted({row["request_id"] for row in shown}))
    items = [item(row, erased.get(row["request_id"])) for row in shown]
    more = len(rows) > limit
    return DeadLetterPage(items, dead_letters.encode(dead_letters.position_of(shown[-1])) if more else None)


async def counts(store: QueryStore, tenant: str) -> list[ReasonCount]:
    """Return how many dead letters are open, by reason; raise QueryProblem."""
    return [ReasonCount(**row) for row in await store.rows(dead_letters.counts_statement(tenant))]


async def _erased(store: QueryStore, tenant: str, request_ids: list[str]) -> dict[str, int]:
    if not request_ids:
        return {}
    rows = await store.rows(dead_letters.erased_statement(tenant, request_ids))
    return {row["request_id"]: row["erased"] for row in rows}
