"""`/requests/{request_id}`: one request, its current state and its timeline."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request, Response

from services.query.api.params import request_id_of
from services.query.core.problems import ParamFault, ProblemCode, QueryProblem, invalid
from services.query.dashboard.core.request_details import conversation, entry, others, rated_keys
from services.query.dashboard.render import page
from services.query.dashboard.routing import PageReader, page_router
from services.query.reads.history import event_page, point, raters

if TYPE_CHECKING:
    from services.query.service import QueryService

router = page_router()

EVENTS = 100
"""Events on a page."""


@router.get("/requests/{request_id}")
async def one(request: Request, reader: PageReader, request_id: str, before: str = "") -> Response:
    """Show a request by the id in the path."""
    return await _shown(request, reader.tenant, request_id_of(request_id), before)


@router.get("/requests")
async def named(
    request: Request, reader: PageReader, request_id: Annotated[str, Query()] = "", before: str = ""
) -> Response:
    """Show a request whose id cannot be in a path."""
    return await _shown(request, reader.tenant, request_id, before)


async def _shown(request: Request, tenant: str, request_id: str, before: str) -> Response:
    service: QueryService = request.app.state.service
    history = await event_page(
        service.store, tenant, request_id, limit=EVENTS, after=_version(before), newest_first=True
    )
    row = await point(service.store, tenant, request_id)
    given = await raters(service.store, tenant, request_id)
    if row is None and not history.items:
        raise QueryProblem(
            ProblemCode.UNKNOWN_REQUEST,
            f"Nothing is stored for the request {request_id[:256]!r}.",
        )
    return page(
        request,
        "request.html",
        request_id=request_id,
        row=row,
        turns=conversation(row["request"]) if row else [],
        others={part: others(row, part) for part in ("data", "request")} if row else {},
        rated=rated_keys(given["raters"], given["agreement"]),
        entries=[entry(event) for event in history.items],
        is_first=not before,
        older=history.next_version,
    )


def _version(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise invalid(ParamFault("before", "a version: a whole number"))
    return int(text) if text else None
