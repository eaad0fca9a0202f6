"""`/v1/dead-letters`: what could not be processed, and why."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from services.query.access import Reader
from services.query.api import models
from services.query.api.letter_filters import PARAMETERS, asked_of
from services.query.api.openapi import FILTERS, described, page_parameters, parameter
from services.query.api.params import question
from services.query.core.problems import Fault
from services.query.reads.core import letters
from services.query.reads.dead_letters import page_of

if TYPE_CHECKING:
    from services.query.service import Service

router = APIRouter(tags=["pipeline"])

DESCRIBED = (
    parameter("stage", "Who gave it up.", enum=[*letters.STAGES]),
    parameter("reason", "Why.", enum=[*letters.REASONS]),
    parameter("state", "What people did about it.", enum=[*letters.State]),
    *(one for one in FILTERS if one["name"] in ("request_id", "from", "to")),
    parameter(
        "raw_bytes",
        "How much of each record to show.",
        type="integer",
        minimum=0,
        maximum=letters.MAX_RAW_BYTES,
        default=letters.DEFAULT_RAW_BYTES,
    ),
    *page_parameters(letters.MAX_LIMIT, letters.DEFAULT_LIMIT),
)


@router.get("/v1/dead-letters", operation_id="list_dead_letters", **described(models.DeadLetters, *DESCRIBED))
async def list_dead_letters(request: Request, reader: Reader) -> dict[str, Any]:
    """Return the tenant's dead letters in pages, newest first."""
    service: Service = request.app.state.service
    with question(request, {*PARAMETERS, "limit", "cursor", "raw_bytes"}, filters=False) as asking:
        asked = asked_of(asking)
        limit = asking.whole("limit", letters.DEFAULT_LIMIT, least=1, most=letters.MAX_LIMIT)
        raw_bytes = asking.whole("raw_bytes", letters.DEFAULT_RAW_BYTES, least=0, most=letters.MAX_RAW_BYTES)
        if limit * raw_bytes > letters.MAX_ANSWER_BYTES:
            most = letters.MAX_ANSWER_BYTES // limit
            asking.faults.append(Fault("raw_bytes", f"at most {most} with this limit; ask for fewer at once"))
        cursor = asking.text("cursor")
        after = asking.read(lambda: letters.decode(cursor), None) if cursor else None
    page = await page_of(service.store, reader.tenant, asked, limit=limit, raw_bytes=raw_bytes, after=after)
    return {"items": page.items, "next_cursor": page.next_cursor}
