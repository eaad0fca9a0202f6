"""Reads statistics: counts, shares and averages by group, of a period and the previous one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.reads.core.filters import Filters
from services.query.reads.core.statistics.figures import Stats, stats_of
from services.query.reads.core.statistics.question import (
    DEFAULT_LIMIT,
    DEFAULT_MEASURE,
    DEFAULT_ORDER,
    DEFAULT_TIME,
    MAX_GROUPS,
    StatsQuery,
    parse_dimensions,
    parse_measure,
    periods,
    time_zone,
)
from services.query.reads.core.statistics.statement import statement
from services.query.store import QueryStore


@dataclass(frozen=True)
class StatsOptions:
    """Options of statistics."""

    time: str = DEFAULT_TIME
    time_zone: str = "UTC"
    order: str = DEFAULT_ORDER
    limit: int = DEFAULT_LIMIT


async def stats(
    store: QueryStore,
    tenant: str,
    filters: Filters,
    *,
    by: Sequence[str] = (),
    measure: str = DEFAULT_MEASURE,
    options: StatsOptions | None = None,
    now: datetime,
) -> Stats:
    """Return the statistics of the period in the filters; raise QueryProblem.

    `by` has at most two names: `day`, `model`, `data.judge`, …  `now` ends a period without `to`.
    """
    query = question_of(tenant, filters, by, measure, options or StatsOptions(), now)
    rows = await store.rows(statement(query))
    if len(rows) > MAX_GROUPS:
        detail = f"more than {MAX_GROUPS:,} groups: ask for longer time groups, or a smaller limit"
        raise QueryProblem(ProblemCode.TOO_EXPENSIVE, detail)
    return stats_of(query, rows)


def question_of(
    tenant: str, filters: Filters, by: Sequence[str], measure: str, options: StatsOptions, now: datetime
) -> StatsQuery:
    """Return the query; raise QueryProblem if it is invalid."""
    zone = time_zone(options.time_zone)
    return StatsQuery(
        tenant,
        replace(filters, last_from=None, last_to=None),
        periods(filters.last_from, filters.last_to, now, zone),
        parse_dimensions(list(by)),
        parse_measure(measure),
        options.time,
        options.time_zone,
        options.order,
        options.limit,
    )
