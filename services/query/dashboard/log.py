"""`/` and `/comments`: the request log, and the comments."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request, Response

from services.query.dashboard.core.formatting import highlighted, with_filters
from services.query.dashboard.core.forms import bar, columns
from services.query.dashboard.render import page
from services.query.dashboard.routing import PageParams, PageReader, page_params, page_router
from services.query.reads.core.filters import NO_FILTERS
from services.query.reads.core.listing import DEFAULT_ORDER, parse_order
from services.query.reads.listing import RowPage, page_of
from services.query.service import QueryService

router = page_router()

LIMIT = 50

LogParams = Annotated[PageParams, Depends(page_params("order", "cursor"))]


@router.get("/")
async def log(request: Request, reader: PageReader, asked: LogParams) -> Response:
    """Show one page of requests, newest first unless another order is asked for."""
    service: QueryService = request.app.state.service
    order = parse_order(asked.extra.get("order", DEFAULT_ORDER))
    listed = await page_of(
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
        rows=listed.items,
        next_cursor=listed.next_cursor,
        asked=asked,
        bar=bar("/", asked, _suggestions(listed)),
        columns=columns(asked.filters, order),
        ingest_url=service.settings.query_ingest_url.rstrip("/"),
        has_any=bool(listed.items) or await _has_any(service, reader.tenant, asked),
    )


async def _has_any(service: QueryService, tenant: str, asked: PageParams) -> bool:
    """Return whether there are rows without the filters and the cursor."""
    if not asked.filters and "cursor" not in asked.extra:
        return False
    anything = await page_of(service.store, tenant, NO_FILTERS, limit=1)
    return bool(anything.items)


def _suggestions(listed: RowPage) -> dict[str, list[str]]:
    """Return values of these rows as suggestions for text fields."""
    return {
        "model": sorted({row["model"] for row in listed.items}),
        "provider": sorted({row["provider"] for row in listed.items}),
        "source": sorted({source for row in listed.items for source in row["sources"]}),
        "tag": sorted({tag for row in listed.items for tag in row["tags"]}),
    }


COMMENTS_LIMIT = 30

COMMENT_ORDERS = {"-last_received_at": "Newest first", "rating": "Worst first", "-rating": "Best first"}

CommentsParams = Annotated[PageParams, Depends(page_params("order", "cursor"))]


@router.get("/comments")
async def comments(request: Request, reader: PageReader, asked: CommentsParams) -> Response:
    """Show one page of comments."""
    service: QueryService = request.app.state.service
    order = parse_order(asked.extra.get("order", DEFAULT_ORDER))
    with_comment = replace(asked.filters, has_comment=True)
    cursor = asked.extra.get("cursor", "")
    listed = await page_of(
        service.store, reader.tenant, with_comment, order=order.name, limit=COMMENTS_LIMIT, cursor=cursor
    )
    return page(
        request,
        "comments.html",
        asked=asked,
        bar=bar("/comments", asked, _comment_suggestions(listed)),
        comments=[(row, highlighted(row["comment"], asked.filters.q)) for row in listed.items],
        model_href=lambda model: with_filters("/comments", replace(asked.filters, model=(model,))),
        tag_href=lambda tag: with_filters("/comments", replace(asked.filters, tag=(tag,))),
        next_cursor=listed.next_cursor,
        order=order.name,
        orders=COMMENT_ORDERS,
        ingest_url=service.settings.query_ingest_url.rstrip("/"),
        has_any=bool(listed.items) or await _has_any_comment(service, reader.tenant),
    )


async def _has_any_comment(service: QueryService, tenant: str) -> bool:
    """Return whether there are any comments."""
    anything = await page_of(service.store, tenant, replace(NO_FILTERS, has_comment=True), limit=1)
    return bool(anything.items)


def _comment_suggestions(listed: RowPage) -> dict[str, list[str]]:
    """Return values of these rows as suggestions for text fields."""
    return {
        "model": sorted({row["model"] for row in listed.items}),
        "provider": sorted({row["provider"] for row in listed.items}),
        "tag": sorted({tag for row in listed.items for tag in row["tags"]}),
    }
