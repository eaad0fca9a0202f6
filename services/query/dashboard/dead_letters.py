"""`/dead-letters`: records that could not be processed, why, and what to do about it."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fastapi import Request, Response

from services.query.api.dead_letters import FILTER_PARAMETERS, filter_of
from services.query.api.params import params_of
from services.query.dashboard.render import page
from services.query.dashboard.routing import PageReader, page_router
from services.query.reads.core.dead_letters import LetterStatus, decode
from services.query.reads.dead_letters import counts, page_of

if TYPE_CHECKING:
    from services.query.service import QueryService

router = page_router()

PATH = "/dead-letters"
LIMIT = 25
RAW_BYTES = 4 << 10
"""Bytes of each record that the page shows; the API returns more."""

ANY = "any"
STATES = (
    (LetterStatus.OPEN, "Open"),
    (LetterStatus.REPLAYED, "Replayed"),
    (LetterStatus.DROPPED, "Dropped"),
    (ANY, "All"),
)

TITLES = {
    "malformed_event": "Malformed event",
    "invalid_replay": "Invalid replay",
    "idempotency_conflict": "Idempotency-Key conflict",
    "damaged_state": "Damaged state",
    "row_too_large": "Row too large",
    "crashed": "Crashed the merger",
    "refused_by_clickhouse": "Rejected by ClickHouse",
}


@router.get(PATH)
async def dead_letters(request: Request, reader: PageReader) -> Response:
    """Show the dead letters of the tenant, by default the open ones."""
    service: QueryService = request.app.state.service
    with params_of(request, {*FILTER_PARAMETERS, "cursor"}, filters=False, form=True) as asking:
        asked = filter_of(asking, LetterStatus.OPEN, ANY)
        cursor = asking.text("cursor")
        after = asking.read(lambda: decode(cursor), None) if cursor else None
    found = await page_of(service.store, reader.tenant, asked, limit=LIMIT, raw_bytes=RAW_BYTES, after=after)
    state = asked.state or ANY
    chosen = {"reason": asked.reason, "request_id": asked.request_id, "state": state}
    open_ones = await counts(service.store, reader.tenant)
    return page(
        request,
        "dead_letters.html",
        letters=found.items,
        counts=[(one, _link({"reason": one.reason})) for one in open_ones],
        tabs=[(name, _link(chosen, state=value), value == state) for value, name in STATES],
        asked=asked,
        state=state,
        older=_link(chosen, cursor=found.next_cursor) if found.next_cursor else None,
        everything=_link({"state": state}) if asked.reason or asked.request_id or after else None,
        title=title,
    )


def title(reason: str) -> str:
    """Return the title of a reason."""
    return TITLES.get(reason, "Unknown")


def _link(chosen: dict[str, str], **changes: str) -> str:
    wanted = {
        name: value for name, value in (chosen | changes).items() if value and value != LetterStatus.OPEN
    }
    return f"{PATH}?{urlencode(wanted)}" if wanted else PATH
