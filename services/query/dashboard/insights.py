"""`/insights`: volume, sentiment over time, and comparisons of models, tags and other dimensions."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from services.query.core.problems import ParamFault, invalid
from services.query.dashboard.core import comparison, overview
from services.query.dashboard.core.forms import bar
from services.query.dashboard.render import page
from services.query.dashboard.routing import PageParams, PageReader, page_params, page_router
from services.query.reads.core.filters import NO_FILTERS, Filters, to_parameters
from services.query.reads.core.statistics.figures import Stats
from services.query.reads.core.statistics.question import (
    DEFAULT_MEASURE,
    EPOCH,
    parse_dimensions,
    parse_measure,
    periods,
)
from services.query.reads.listing import page_of
from services.query.reads.statistics import StatsOptions, stats
from services.query.service import QueryService

router = page_router()

COMPARED = 25
"""The most lines of the comparison, those with the most requests."""

TAGS = 12

InsightsParams = Annotated[PageParams, Depends(page_params("by", "measure", "scale"))]


@router.get("/insights")
async def insights(request: Request, reader: PageReader, asked: InsightsParams) -> Response:
    """Show the statistics of a period and of the previous one."""
    service: QueryService = request.app.state.service
    now = datetime.fromtimestamp(time.time(), UTC)
    by, measure, scale = _compared(asked)
    unit = overview.unit_for(periods(asked.filters.last_from, asked.filters.last_to, now, UTC).current)

    async def ask(name: str, measure: str, limit: int) -> Stats:
        options = StatsOptions(limit=limit)
        return await stats(
            service.store, reader.tenant, asked.filters, by=[name], measure=measure, options=options, now=now
        )

    over_time, compared, tags = await _all(
        ask(unit, DEFAULT_MEASURE, 1),
        ask(by, DEFAULT_MEASURE if measure == comparison.SHARE else measure, COMPARED),
        ask("tag", DEFAULT_MEASURE, TAGS),
    )
    dated = replace(asked.filters, last_from=over_time.period.start)
    steps = overview.steps(over_time, dated)
    return page(
        request,
        "insights.html",
        asked=asked,
        bar=bar("/insights", asked, _suggestions(by, compared, tags)),
        dated=dated,
        stats=over_time,
        period=overview.span_text(over_time.period),
        before=overview.span_text(over_time.previous_period) if over_time.previous_period else "",
        carried=to_parameters(asked.filters),
        unit=unit,
        cards=overview.cards(over_time),
        steps=steps,
        volume=overview.volume(steps, unit),
        sentiments=overview.sentiments(steps, unit),
        by=by,
        measure=measure,
        scale=asked.extra.get("scale", ""),
        comparing=comparison.comparing(compared, comparison.measure_format(measure, scale), dated),
        not_numbers=compared.total.not_numbers,
        tags=comparison.ranking(tags, dated),
        dimensions=comparison.DIMENSIONS,
        measures=comparison.MEASURES,
        ranges=_ranges(asked.filters, now),
        ingest_url=service.settings.query_ingest_url.rstrip("/"),
        has_any=over_time.total.requests > 0 or await _has_any(service, reader.tenant),
    )


def _compared(asked: PageParams) -> tuple[str, str, tuple[float, float] | None]:
    """Return dimension, measure and scale of the comparison; raise QueryProblem if one is invalid."""
    by = asked.extra.get("by", "model")
    if any(dimension.is_time for dimension in parse_dimensions([by])):
        raise invalid(ParamFault("by", "the charts above are over time; compare models, datasets, tags, …"))
    text = asked.extra.get("scale", "")
    scale = comparison.parse_scale(text)
    if text and scale is None:
        raise invalid(ParamFault("scale", "the worst and the best value, such as `1..2`"))
    measure = asked.extra.get("measure", comparison.SHARE)
    if measure != comparison.SHARE:
        parse_measure(measure)
    return by, measure, scale


async def _all(*questions: Coroutine[Any, Any, Stats]) -> list[Stats]:
    """Run queries concurrently and return their results; a failure cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _has_any(service: QueryService, tenant: str) -> bool:
    return bool((await page_of(service.store, tenant, NO_FILTERS, limit=1)).items)


def _suggestions(by: str, compared: Stats, tags: Stats) -> dict[str, list[str]]:
    """Return names of these groups as suggestions for text fields."""
    found = {"tag": [group.key["tag"] or "" for group in tags.groups]}
    if by in ("model", "provider", "source"):
        found[by] = [group.key[by] or "" for group in compared.groups]
    return found


RANGES = (("24 hours", 1), ("7 days", 7), ("30 days", 30), ("90 days", 90), ("A year", 365))


def _ranges(filters: Filters, now: datetime) -> list[tuple[str, Filters, bool]]:
    """Return periods to choose from: a name, its filters, and whether they are active."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    today = hour.replace(hour=0)
    found: list[tuple[str, datetime | None]] = []
    for name, days in RANGES:
        start = (
            today - timedelta(days=days - 1)
            if days > 1
            else now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
        )
        found.append((name, None if days == 30 else start))
    found.append(("All", EPOCH))
    is_open = filters.last_to is None
    return [
        (name, replace(filters, last_from=start, last_to=None), is_open and filters.last_from == start)
        for name, start in found
    ]
