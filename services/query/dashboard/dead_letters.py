"""`/dead-letters`: what could not be processed, why, and what to do about it."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fastapi import Request, Response

from services.query.api.letter_filters import PARAMETERS, asked_of
from services.query.api.params import question
from services.query.dashboard.readers import PageReader, page_router
from services.query.dashboard.render import page
from services.query.reads.core import letters
from services.query.reads.dead_letters import counts, page_of

if TYPE_CHECKING:
    from services.query.service import Service

router = page_router()

PATH = "/dead-letters"
LIMIT = 25
RAW_BYTES = 4 << 10
"""Of each record that the page shows; the API shows more."""

ANY = "any"
STATES = (
    (letters.State.OPEN, "Open"),
    (letters.State.REPLAYED, "Replayed"),
    (letters.State.DROPPED, "Dropped"),
    (ANY, "All"),
)

TITLES = {
    "malformed_event": "Not an event",
    "invalid_replay": "Not a replay",
    "idempotency_conflict": "Key used twice",
    "damaged_state": "State damaged",
    "row_too_large": "Request too large",
    "crashed": "Set aside after crashes",
    "refused_by_clickhouse": "Refused by ClickHouse",
}


@router.get(PATH)
async def dead_letters(request: Request, reader: PageReader) -> Response:
    """Show the tenant's dead letters, the open ones unless others are asked for."""
    service: Service = request.app.state.service
    with question(request, {*PARAMETERS, "cursor"}, filters=False, form=True) as asking:
        asked = asked_of(asking, letters.State.OPEN, ANY)
        cursor = asking.text("cursor")
        after = asking.read(lambda: letters.decode(cursor), None) if cursor else None
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
    """Return a reason in a few words."""
    return TITLES.get(reason, "Unknown")


def _link(chosen: dict[str, str], **changes: str) -> str:
    wanted = {
        name: value for name, value in (chosen | changes).items() if value and value != letters.State.OPEN
    }
    return f"{PATH}?{urlencode(wanted)}" if wanted else PATH
