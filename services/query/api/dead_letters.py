"""`/v1/dead-letters`: records that could not be processed, and why; the page takes the same filters."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from services.query.access import Reader
from services.query.api import models
from services.query.api.openapi import FILTERS, described, page_parameters, parameter
from services.query.api.params import Params, params_of
from services.query.core.problems import ParamFault
from services.query.reads.core import dead_letters
from services.query.reads.core.filters import NO_FILTERS, parse_filters
from services.query.reads.dead_letters import page_of

if TYPE_CHECKING:
    from services.query.service import QueryService

router = APIRouter(tags=["pipeline"])

CHOICES = {"stage": dead_letters.STAGES, "reason": dead_letters.REASONS}
FILTER_PARAMETERS = (*CHOICES, "state", "request_id", "from", "to")


def filter_of(asking: Params, state: str = "", *any_state: str) -> dead_letters.DeadLetterFilter:
    """Return the filter of the parameters, whose state is `state` by default.

    A value in `any_state` selects all states.
    """
    chosen = {name: asking.choice(name, choices, "") for name, choices in CHOICES.items()}
    chosen["state"] = asking.choice("state", (*dead_letters.LetterStatus, *any_state), state)
    if chosen["state"] in any_state:
        chosen["state"] = ""
    shared = [one for one in asking.parameters if one[0] in ("request_id", "from", "to")]
    filters = asking.read(lambda: parse_filters(shared), NO_FILTERS)
    return dead_letters.DeadLetterFilter(
        **chosen, request_id=filters.request_id, since=filters.last_from, until=filters.last_to
    )


DESCRIBED = (
    parameter("stage", "The service that dead-lettered it.", enum=[*dead_letters.STAGES]),
    parameter("reason", "The reason.", enum=[*dead_letters.REASONS]),
    parameter("state", "Whether an operator replayed or dropped it.", enum=[*dead_letters.LetterStatus]),
    *(one for one in FILTERS if one["name"] in ("request_id", "from", "to")),
    parameter(
        "raw_bytes",
        "Bytes of each record to return.",
        type="integer",
        minimum=0,
        maximum=dead_letters.MAX_RAW_BYTES,
        default=dead_letters.DEFAULT_RAW_BYTES,
    ),
    *page_parameters(dead_letters.MAX_LIMIT, dead_letters.DEFAULT_LIMIT),
)


@router.get("/v1/dead-letters", operation_id="list_dead_letters", **described(models.DeadLetters, *DESCRIBED))
async def list_dead_letters(request: Request, reader: Reader) -> dict[str, Any]:
    """Return the tenant's dead letters in pages, newest first."""
    service: QueryService = request.app.state.service
    with params_of(request, {*FILTER_PARAMETERS, "limit", "cursor", "raw_bytes"}, filters=False) as asking:
        wanted = filter_of(asking)
        limit = asking.whole("limit", dead_letters.DEFAULT_LIMIT, least=1, most=dead_letters.MAX_LIMIT)
        raw_bytes = asking.whole(
            "raw_bytes", dead_letters.DEFAULT_RAW_BYTES, least=0, most=dead_letters.MAX_RAW_BYTES
        )
        if limit * raw_bytes > dead_letters.MAX_ANSWER_BYTES:
            most = dead_letters.MAX_ANSWER_BYTES // limit
            asking.faults.append(
                ParamFault("raw_bytes", f"at most {most} with this limit; ask for fewer at once")
            )
        cursor = asking.text("cursor")
        after = asking.read(lambda: dead_letters.decode(cursor), None) if cursor else None
    page = await page_of(service.store, reader.tenant, wanted, limit=limit, raw_bytes=raw_bytes, after=after)
    return {"items": page.items, "next_cursor": page.next_cursor}
