"""`/v1/stats`: counts, shares and averages by group, the previous period beside them."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from services.query.access import Reader
from services.query.api.openapi import FILTERS, described, parameter
from services.query.api.params import Question, question
from services.query.reads.core.statistics.answers import Stats
from services.query.reads.core.statistics.dimensions import (
    DEFAULT_MEASURE,
    MAX_DIMENSIONS,
    NAMES,
    parse_dimensions,
    parse_measure,
)
from services.query.reads.core.statistics.question import (
    DEFAULT_LIMIT,
    DEFAULT_ORDER,
    DEFAULT_TIME,
    MAX_LIMIT,
    ORDER_NAMES,
    TIMES,
    time_zone,
)
from services.query.reads.statistics import Options, stats

if TYPE_CHECKING:
    from services.query.service import Service

router = APIRouter(tags=["statistics"])

PARAMETERS = (
    parameter(
        "by",
        f"What to group by, once or twice: {', '.join(NAMES)}, `data.<key>` or `request.<key>`; one of the "
        "times at most. A request with several tags or sources counts in the group of each.",
        type="array",
        items={"type": "string", "examples": ["day", "model", "data.judge"]},
        maxItems=MAX_DIMENSIONS,
    ),
    parameter(
        "measure",
        "The number to average: `rating`, `latency_ms`, `cost_usd`, or any key, `data.<key>` or "
        "`request.<key>`. True counts as 1 and false as 0.",
        default=DEFAULT_MEASURE,
        examples=["rating", "data.preference"],
    ),
    parameter(
        "time",
        "What `from`, `to` and stretches of time go by.",
        enum=[*TIMES],
        default=DEFAULT_TIME,
    ),
    parameter("time_zone", "Where days begin.", default="UTC", examples=["UTC", "Europe/Berlin"]),
    parameter(
        "order",
        "Which names come first, `-` for descending; names without requests in the period come last.",
        enum=[*ORDER_NAMES],
        default=DEFAULT_ORDER,
    ),
    parameter(
        "limit",
        "How many names; the others are added up in `rest`. Stretches of time are not counted.",
        type="integer",
        minimum=1,
        maximum=MAX_LIMIT,
        default=DEFAULT_LIMIT,
    ),
)


@router.get("/v1/stats", operation_id="read_stats", **described(Stats, *FILTERS, *PARAMETERS))
async def read_stats(request: Request, reader: Reader) -> Response:
    """Return counts, shares and averages of the requests of a period, those of the previous one beside them.

    The period is from `from` to `to`; without `to` it ends now, without `from` it has the last 30 days.
    The previous period is as long, and right before; where `to` is left out it is a whole number of days
    earlier, so that each day is compared with a day.
    """
    service: Service = request.app.state.service
    with question(request, [one["name"] for one in PARAMETERS]) as asking:
        filters = asking.filters()
        by = [value for name, value in asking.parameters if name == "by"]
        asking.read(lambda: len(parse_dimensions(by)), 0)
        measure = asking.text("measure", DEFAULT_MEASURE)
        asking.read(lambda: parse_measure(measure), None)
        options = _options(asking)
    now = datetime.fromtimestamp(time.time(), UTC)
    found = await stats(
        service.store, reader.tenant, filters, by=by, measure=measure, options=options, now=now
    )
    return Response(found.model_dump_json(by_alias=True), media_type="application/json")


def _options(asking: Question) -> Options:
    zone = asking.text("time_zone", "UTC")
    asking.read(lambda: time_zone(zone), None)
    return Options(
        asking.choice("time", TIMES, DEFAULT_TIME),
        zone,
        asking.choice("order", ORDER_NAMES, DEFAULT_ORDER),
        asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
    )
