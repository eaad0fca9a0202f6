"""`/comments`: what people wrote, by words, by vote, by whatever a filter says."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request, Response

from services.query.dashboard.core.formatting import with_filters
from services.query.dashboard.core.forms import bar
from services.query.dashboard.core.highlights import highlighted
from services.query.dashboard.questions import PageAsked, page_question
from services.query.dashboard.readers import PageReader, page_router
from services.query.dashboard.render import page
from services.query.reads.core.filters import NO_FILTERS
from services.query.reads.core.orders import DEFAULT, parse_order
from services.query.reads.listing import Page, page_of
from services.query.service import Service

router = page_router()

LIMIT = 30

ORDERS = {"-last_received_at": "Newest first", "rating": "Worst first", "-rating": "Best first"}

CommentsQuestion = Annotated[PageAsked, Depends(page_question("order", "cursor"))]


@router.get("/comments")
async def comments(request: Request, reader: PageReader, asked: CommentsQuestion) -> Response:
    """Show one page of comments."""
    service: Service = request.app.state.service
    order = parse_order(asked.extra.get("order", DEFAULT))
    with_comment = replace(asked.filters, has_comment=True)
    cursor = asked.extra.get("cursor", "")
    found = await page_of(
        service.store, reader.tenant, with_comment, order=order.name, limit=LIMIT, cursor=cursor
    )
    return page(
        request,
        "comments.html",
        asked=asked,
        bar=bar("/comments", asked, _suggestions(found)),
        comments=[(row, highlighted(row["comment"], asked.filters.q)) for row in found.items],
        model_href=lambda model: with_filters("/comments", replace(asked.filters, model=(model,))),
        tag_href=lambda tag: with_filters("/comments", replace(asked.filters, tag=(tag,))),
        next_cursor=found.next_cursor,
        order=order.name,
        orders=ORDERS,
        ingest_url=service.settings.query_ingest_url.rstrip("/"),
        has_any=bool(found.items) or await _has_any(service, reader.tenant),
    )


async def _has_any(service: Service, tenant: str) -> bool:
    """Tell whether there are comments that the filters keep out."""
    anything = await page_of(service.store, tenant, replace(NO_FILTERS, has_comment=True), limit=1)
    return bool(anything.items)


def _suggestions(found: Page) -> dict[str, list[str]]:
    """Return what the rows at hand offer for fields that take any text."""
    return {
        "model": sorted({row["model"] for row in found.items}),
        "provider": sorted({row["provider"] for row in found.items}),
        "tag": sorted({tag for row in found.items for tag in row["tags"]}),
    }
