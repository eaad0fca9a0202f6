"""`/v1/feedback`: the rows in pages."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Request

from services.query.access import Reader
from services.query.asked import question
from services.query.listing import DEFAULT_LIMIT, MAX_LIMIT, page_of
from services.query.orders import DEFAULT, NAMES

router = APIRouter(tags=["feedback"])


def _request_id(request_id: Annotated[str, Path()]) -> str:
    """Return the id that a raw path names."""
    return unquote(request_id)


RequestId = Annotated[str, Depends(_request_id)]


@router.get("/v1/feedback")
async def list_feedback(request: Request, reader: Reader) -> dict[str, Any]:
    """Return rows in pages."""
    with question(request, {"order", "limit", "cursor"}) as asking:
        filters = asking.filters()
        order = asking.choice("order", NAMES, DEFAULT)
        limit = asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
        cursor = asking.text("cursor")
    store = request.app.state.service.store
    page = await page_of(store, reader.tenant, filters, order=order, limit=limit, cursor=cursor)
    return {"items": page.items, "next_cursor": page.next_cursor}
