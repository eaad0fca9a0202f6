"""`/requests/{request_id}`: everything about one request, and how it came to be."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request, Response

from services.query.core.problems import Code, Fault, Problem, invalid
from services.query.dashboard.core.conversation import conversation, others
from services.query.dashboard.core.timeline import entry
from services.query.dashboard.readers import PageReader, page_router
from services.query.dashboard.render import page
from services.query.reads.core.ids import request_id_of
from services.query.reads.requests import history_page, point

if TYPE_CHECKING:
    from services.query.service import Service

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
    """Show a request whose id no path can hold."""
    return await _shown(request, reader.tenant, request_id, before)


async def _shown(request: Request, tenant: str, request_id: str, before: str) -> Response:
    service: Service = request.app.state.service
    history = await history_page(
        service.store, tenant, request_id, limit=EVENTS, after=_version(before), newest_first=True
    )
    row = await point(service.store, tenant, request_id)
    if row is None and not history.items:
        raise Problem(Code.UNKNOWN_REQUEST, f"Nobody has said anything about {request_id[:256]!r} yet.")
    return page(
        request,
        "one.html",
        request_id=request_id,
        row=row,
        turns=conversation(row["request"]) if row else [],
        others={part: others(row, part) for part in ("data", "request")} if row else {},
        entries=[entry(event) for event in history.items],
        is_first=not before,
        older=history.next_version,
    )


def _version(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise invalid(Fault("before", "a version: a whole number"))
    return int(text) if text else None
