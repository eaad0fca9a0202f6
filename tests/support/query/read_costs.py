"""What the service's questions cost: each one is asked as the service asks it, and its rows are counted."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from clickhouse_connect.driver.asyncclient import AsyncClient

from services.query.reads.core.filters import parse_filters
from services.query.reads.history import history, point, raters
from services.query.reads.listing import page_of
from services.query.reads.statistics import stats
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore, QueryStore, Row
from services.runtime.clickhouse.core.statement import Statement
from tests.support.clickhouse.volume import RARE_TAG, RARE_WORD

AS_ASKED = {"use_query_condition_cache": 0, "optimize_move_to_prewhere_if_final": 1}
"""As the service's store asks, but without what ClickHouse remembers of earlier answers."""


@dataclass(frozen=True)
class Cost:
    """What one statement took."""

    sql: str
    seconds: float
    rows: int
    """Rows that were read."""
    bytes: int


class CountingStore(ClickHouseStore):
    """Asks as the service does, and counts what is read by asking again."""

    def __init__(self, settings: QuerySettings, client: AsyncClient) -> None:
        super().__init__(settings)
        self._asks_again = client
        self.costs: list[Cost] = []

    async def rows(self, statement: Statement) -> list[Row]:
        """Return the answer."""
        began = time.perf_counter()
        answer = await super().rows(statement)
        seconds = time.perf_counter() - began
        again = await self._asks_again.query(statement.sql, statement.parameters, settings=AS_ASKED)
        read = (int(again.summary[name]) for name in ("read_rows", "read_bytes"))
        self.costs.append(Cost(statement.sql, seconds, *read))
        return answer


@dataclass(frozen=True)
class Example:
    """Whose rows are asked for, and one request of theirs."""

    tenant: str
    request_id: str
    now: datetime = datetime(2026, 11, 10, tzinfo=UTC)


Question = Callable[[QueryStore, Example], Awaitable[object]]


def _page(**asked: str) -> Question:
    filters = parse_filters((name, value) for name, value in asked.items())
    return lambda store, example: page_of(store, example.tenant, filters)


async def _second_page(store: QueryStore, example: Example) -> None:
    first = await page_of(store, example.tenant, parse_filters([]), limit=5)
    await page_of(store, example.tenant, parse_filters([]), cursor=first.next_cursor or "")


def _stats(*by: str, **asked: str) -> Question:
    filters = parse_filters((name, value) for name, value in asked.items())
    return lambda store, example: stats(store, example.tenant, filters, by=by, now=example.now)


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "log page": _page(),
        "second page": _second_page,
        "one request": lambda store, example: point(store, example.tenant, example.request_id),
        "its history": lambda store, example: history(store, example.tenant, example.request_id),
        "its raters": lambda store, example: raters(store, example.tenant, example.request_id),
        "rating and tag": _page(rating_max="2", tag="billing"),
        "rare tag": _page(tag=RARE_TAG),
        "thumbs down": _page(vote="negative"),
        "model and sentiment": _page(model="mistral", sentiment="negative"),
        "with a comment": _page(has_comment="true"),
        "without feedback": _page(has_feedback="false"),
        "orphans": _page(orphan="true"),
        "rare word": _page(q=RARE_WORD),
        "common word": _page(q="contract"),
        "one user": _page(user_id="user_4242"),
        "one session": _page(session_id="s4242"),
        "an hour in the past": _page(**{"from": "2026-08-02T10:00:00Z", "to": "2026-08-02T11:00:00Z"}),
        "days by model": _stats("day", "model"),
        "days by model, all": _stats("day", "model", **{"from": "2026-08-01"}),
        "tags": _stats("tag"),
        "a rare tag by model": _stats("model", tag=RARE_TAG, **{"from": "2026-08-01"}),
    }
)
"""What people ask most, by name, as the service puts it."""
