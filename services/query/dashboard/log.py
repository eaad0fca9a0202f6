"""`/`: the request log."""

from typing import Annotated

from fastapi import Depends, Request, Response

from services.query.dashboard.core.columns import columns
from services.query.dashboard.core.forms import bar
from services.query.dashboard.questions import PageAsked, page_question
from services.query.dashboard.readers import PageReader, page_router
from services.query.dashboard.render import page
from services.query.reads.core.filters import NO_FILTERS
from services.query.reads.core.orders import DEFAULT, parse_order
from services.query.reads.listing import Page, page_of
from services.query.service import Service

router = page_router()

LIMIT = 50

LogQuestion = Annotated[PageAsked, Depends(page_question("order", "cursor"))]


@router.get("/")
async def log(request: Request, reader: PageReader, asked: LogQuestion) -> Response:
    """Show one page of requests, newest first unless another order is asked for."""
    service: Service = request.app.state.service
    order = parse_order(asked.extra.get("order", DEFAULT))
    found = await page_of(
        service.store,
        reader.tenant,
        asked.filters,
        order=order.name,
        limit=LIMIT,
        cursor=asked.extra.get("cursor", ""),
    )
    return page(
        request,
        "log.html",
        rows=found.items,
        next_cursor=found.next_cursor,
        asked=asked,
        bar=bar("/", asked, _suggestions(found)),
        columns=columns(asked.filters, order),
        ingest_url=service.settings.query_ingest_url.rstrip("/"),
        has_any=bool(found.items) or await _has_any(service, reader.tenant, asked),
    )


async def _has_any(service: Service, tenant: str, asked: PageAsked) -> bool:
    """Tell whether a page without rows would have some without its filters."""
    if not asked.filters and "cursor" not in asked.extra:
        return False
    anything = await page_of(service.store, tenant, NO_FILTERS, limit=1)
    return bool(anything.items)


def _suggestions(found: Page) -> dict[str, list[str]]:
    """Return what the rows at hand offer for fields that take any text."""
    return {
        "model": sorted({row["model"] for row in found.items}),
        "provider": sorted({row["provider"] for row in found.items}),
        "source": sorted({source for row in found.items for source in row["sources"]}),
        "tag": sorted({tag for row in found.items for tag in row["tags"]}),
    }
