"""`/v1/feedback`: the rows in pages."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from services.query.access import Reader
from services.query.api import models
from services.query.api.openapi import FILTERS, described, page_parameters, parameter
from services.query.api.params import question
from services.query.reads.core.orders import DEFAULT, NAMES
from services.query.reads.listing import DEFAULT_LIMIT, MAX_LIMIT, page_of

if TYPE_CHECKING:
    from services.query.service import Service

router = APIRouter(tags=["feedback"])

ORDER = parameter(
    "order",
    "The column to order by, `-` for descending; rows without a value come last, equal ones by `request_id`.",
    enum=[*NAMES],
    default=DEFAULT,
)


@router.get(
    "/v1/feedback",
    operation_id="list_feedback",
    **described(models.Page, *FILTERS, ORDER, *page_parameters(MAX_LIMIT, DEFAULT_LIMIT)),
)
async def list_feedback(request: Request, reader: Reader) -> dict[str, Any]:
    """Return rows in pages: all conditions have to hold, and of several values of one parameter any.

    Pages stay right while rows change: a row that does not change comes exactly once.
    """
    service: Service = request.app.state.service
    with question(request, {"order", "limit", "cursor"}) as asking:
        filters = asking.filters()
        order = asking.choice("order", NAMES, DEFAULT)
        limit = asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
        cursor = asking.text("cursor")
    page = await page_of(service.store, reader.tenant, filters, order=order, limit=limit, cursor=cursor)
    return {"items": page.items, "next_cursor": page.next_cursor}
