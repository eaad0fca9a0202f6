"""Statistics over the latest states: counts, shares and averages by group, beside the previous period's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.query.core.problems import Code, Problem
from services.query.reads.core.filters import Filters
from services.query.reads.core.statistics.answers import Stats
from services.query.reads.core.statistics.dimensions import DEFAULT_MEASURE, parse_dimensions, parse_measure
from services.query.reads.core.statistics.figures import stats_of
from services.query.reads.core.statistics.periods import periods
from services.query.reads.core.statistics.question import (
    DEFAULT_LIMIT,
    DEFAULT_ORDER,
    DEFAULT_TIME,
    MAX_GROUPS,
    Question,
    time_zone,
)
from services.query.reads.core.statistics.statement import statement
from services.query.store import Store


@dataclass(frozen=True)
class Options:
    """How statistics go about it."""

    time: str = DEFAULT_TIME
    time_zone: str = "UTC"
    order: str = DEFAULT_ORDER
    limit: int = DEFAULT_LIMIT


async def stats(
    store: Store,
    tenant: str,
    filters: Filters,
    *,
    by: Sequence[str] = (),
    measure: str = DEFAULT_MEASURE,
    options: Options | None = None,
    now: datetime,
) -> Stats:
    """Return the statistics of the period that the filters name; raise Problem.

    `by` has at most two names: `day`, `model`, `data.judge`, …  `now` is the end of a period without one.
    """
    asked = question_of(tenant, filters, by, measure, options or Options(), now)
    rows = await store.rows(statement(asked))
    if len(rows) > MAX_GROUPS:
        said = f"more than {MAX_GROUPS:,} groups: ask for longer stretches of time, or a smaller limit"
        raise Problem(Code.TOO_EXPENSIVE, said)
    return stats_of(asked, rows)


def question_of(
    tenant: str, filters: Filters, by: Sequence[str], measure: str, options: Options, now: datetime
) -> Question:
    """Return what is asked for; raise Problem for what cannot be."""
    zone = time_zone(options.time_zone)
    return Question(
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
