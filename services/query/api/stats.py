"""`/v1/stats`: counts, shares and averages by group, the previous period beside them."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from services.query.access import Reader
from services.query.api.openapi import FILTERS, described, parameter
from services.query.api.params import Params, params_of
from services.query.reads.core.statistics.figures import Stats
from services.query.reads.core.statistics.question import (
    DEFAULT_LIMIT,
    DEFAULT_MEASURE,
    DEFAULT_ORDER,
    DEFAULT_TIME,
    MAX_DIMENSIONS,
    MAX_LIMIT,
    NAMES,
    ORDER_NAMES,
    TIMES,
    parse_dimensions,
    parse_measure,
    time_zone,
)
from services.query.reads.statistics import StatsOptions, stats

if TYPE_CHECKING:
    from services.query.service import QueryService

router = APIRouter(tags=["statistics"])

PARAMETERS = (
    parameter(
        "by",
        f"What to group by, once or twice: {', '.join(NAMES)}, `data.<key>` or `request.<key>`; one of the "
        "times at most. A request with several tags or sources counts in each group.",
        type="array",
        items={"type": "string", "examples": ["day", "model", "data.judge"]},
        maxItems=MAX_DIMENSIONS,
    ),
    parameter(
        "measure",
        "The value to average: `rating`, `latency_ms`, `cost_usd`, or any key, `data.<key>` or "
        "`request.<key>`. True counts as 1 and false as 0.",
        default=DEFAULT_MEASURE,
        examples=["rating", "data.preference"],
    ),
    parameter(
        "time",
        "The time that `from`, `to` and time groups refer to.",
        enum=[*TIMES],
        default=DEFAULT_TIME,
    ),
    parameter("time_zone", "Where days begin.", default="UTC", examples=["UTC", "Europe/Berlin"]),
    parameter(
        "order",
        "The order of groups, `-` for descending; groups without requests in the period come last.",
        enum=[*ORDER_NAMES],
        default=DEFAULT_ORDER,
    ),
    parameter(
        "limit",
        "The most names; the others are summed in `rest`. Time groups are not counted.",
        type="integer",
        minimum=1,
        maximum=MAX_LIMIT,
        default=DEFAULT_LIMIT,
    ),
)


@router.get("/v1/stats", operation_id="read_stats", **described(Stats, *FILTERS, *PARAMETERS))
async def read_stats(request: Request, reader: Reader) -> Response:
    """Return counts, shares and averages of a period, and those of the previous one.

    The period is from `from` to `to`; without `to` it ends now, without `from` it has the last 30 days.
    The previous period is as long, and right before; where `to` is left out it is a whole number of days
    earlier, so that each day is compared with a day.
    """
    service: QueryService = request.app.state.service
    with params_of(request, [one["name"] for one in PARAMETERS]) as asking:
        filters = asking.filters()
        by = [value for name, value in asking.parameters if name == "by"]
        asking.read(lambda: len(parse_dimensions(by)), 0)
        measure = asking.text("measure", DEFAULT_MEASURE)
        asking.read(lambda: parse_measure(measure), None)
        options = _options(asking)
    now = datetime.fromtimestamp(time.time(), UTC)
    answer = await stats(
        service.store, reader.tenant, filters, by=by, measure=measure, options=options, now=now
    )
    return Response(answer.model_dump_json(by_alias=True), media_type="application/json")


def _options(asking: Params) -> StatsOptions:
    zone = asking.text("time_zone", "UTC")
    asking.read(lambda: time_zone(zone), None)
    return StatsOptions(
        asking.choice("time", TIMES, DEFAULT_TIME),
        zone,
        asking.choice("order", ORDER_NAMES, DEFAULT_ORDER),
        asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
    )
