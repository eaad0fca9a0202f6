"""`/v1/stats`: counts, shares and averages by group, the previous period beside them."""

import time
from datetime import UTC, datetime

from fastapi import APIRouter, Request

from services.query.access import Reader
from services.query.asked import Question, question
from services.query.statistics import Options, stats
from services.query.statistics.answers import Stats
from services.query.statistics.dimensions import DEFAULT_MEASURE, parse_dimensions, parse_measure
from services.query.statistics.question import (
    DEFAULT_LIMIT,
    DEFAULT_ORDER,
    DEFAULT_TIME,
    MAX_LIMIT,
    ORDER_NAMES,
    TIMES,
    time_zone,
)

router = APIRouter(tags=["statistics"])

PARAMETERS = ("by", "measure", "time", "time_zone", "order", "limit")


@router.get("/v1/stats")
async def read_stats(request: Request, reader: Reader) -> Stats:
    """Return counts, shares and averages of a period, by up to two things, beside the previous period's."""
    with question(request, PARAMETERS) as asking:
        filters = asking.filters()
        by = [value for name, value in asking.parameters if name == "by" and value]
        asking.read(lambda: len(parse_dimensions(by)), 0)
        measure = asking.text("measure", DEFAULT_MEASURE)
        asking.read(lambda: parse_measure(measure), None)
        options = _options(asking)
    store = request.app.state.service.store
    now = datetime.fromtimestamp(time.time(), UTC)
    return await stats(store, reader.tenant, filters, by=by, measure=measure, options=options, now=now)


def _options(asking: Question) -> Options:
    zone = asking.text("time_zone", "UTC")
    asking.read(lambda: time_zone(zone), None)
    return Options(
        asking.choice("time", TIMES, DEFAULT_TIME),
        zone,
        asking.choice("order", ORDER_NAMES, DEFAULT_ORDER),
        asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
    )
