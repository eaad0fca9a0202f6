"""`/v1/feedback/{request_id}`: one request's row, and its history."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from services.query.access import Reader
from services.query.api import models
from services.query.api.openapi import described, page_parameters, parameter
from services.query.api.params import Question, question
from services.query.core.problems import Code, Fault, Problem
from services.query.core.waits import Wait, check_generation, parse_version, parse_wait
from services.query.reads import requests
from services.query.reads.core.ids import request_id_of
from services.query.waiting import answer

if TYPE_CHECKING:
    from services.query.service import Service

router = APIRouter(tags=["feedback"])


def _request_id(request_id: Annotated[str, Path()]) -> str:
    return request_id_of(request_id)


RequestId = Annotated[str, Depends(_request_id)]
"""The id that a raw path names."""

ORDERS = ("version", "-version")


MIN_VERSION = parameter(
    "min_version", "The `version` of an acknowledgement: what became of that event?", pattern="^[0-9]*$"
)
WAIT = parameter("wait", "How long to wait for `min_version`: `2s`, `500ms`.", examples=["2s"])
ORDER = parameter("order", "Oldest first, or newest first.", enum=[*ORDERS], default=ORDERS[0])


@router.get(
    "/v1/feedback/{request_id}",
    operation_id="read_feedback",
    **described(models.Waited, MIN_VERSION, WAIT, also=(Code.UNKNOWN_REQUEST,)),
)
async def read_feedback(request: Request, reader: Reader, request_id: RequestId) -> dict[str, Any]:
    """Return one request's row.  With `min_version`, what became of that event, once it is known."""
    service: Service = request.app.state.service
    with question(request, {"min_version", "wait"}, filters=False) as asking:
        wait = _wait(asking, service.settings.query_max_wait_seconds)
    if wait is None:
        row = await requests.point(service.store, reader.tenant, request_id)
        members: dict[str, Any] = {}
    else:
        check_generation(wait, await service.positions.generation(wait.generation))
        told = await answer(service.store, service.positions, reader.tenant, request_id, wait)
        row, members = told.row, told.members()
    if row is None:
        raise Problem(Code.UNKNOWN_REQUEST, _absent(members), extra=members)
    return row | members


def _wait(asking: Question, most: float) -> Wait | None:
    version, wait = asking.text("min_version"), asking.text("wait")
    if not version:
        if wait:
            asking.faults.append(Fault("wait", "it says how long to wait for `min_version`; give that too"))
        return None
    seconds = asking.read(lambda: parse_wait(wait, most), 0.0) if wait else 0.0
    return Wait(asking.read(lambda: parse_version(version), 0), seconds)


def _absent(members: dict[str, Any]) -> str:
    """Return why there is no row, and what to do."""
    match members.get("outcome"):
        case "pending":
            return "there is no row yet; ask again, with `wait` to be answered as soon as there is one"
        case "dead_lettered":
            return "the event was given up, and nothing else is known of the request"
        case "merged" | "ignored":
            return "the request was erased, or no event of it has this version"
        case _:
            return "no feedback and no facts of this request are stored, or it was erased"


@router.get(
    "/v1/feedback/{request_id}/events",
    operation_id="read_events",
    **described(
        models.History,
        ORDER,
        *page_parameters(requests.MAX_LIMIT, requests.DEFAULT_LIMIT),
        also=(Code.UNKNOWN_REQUEST,),
    ),
)
async def read_events(request: Request, reader: Reader, request_id: RequestId) -> dict[str, Any]:
    """Return a request's history: every event, what it changed, and what became of it."""
    service: Service = request.app.state.service
    with question(request, {"order", "limit", "cursor"}, filters=False) as asking:
        order = asking.choice("order", ORDERS, ORDERS[0])
        limit = asking.whole("limit", requests.DEFAULT_LIMIT, least=1, most=requests.MAX_LIMIT)
        after = _cursor(asking)
    page = await requests.history_page(
        service.store, reader.tenant, request_id, limit=limit, after=after, newest_first=order == "-version"
    )
    if not page.items and after is None:
        raise Problem(Code.UNKNOWN_REQUEST, "no event of this request is stored")
    cursor = None if page.next_version is None else str(page.next_version)
    return {"request_id": request_id, "items": page.items, "next_cursor": cursor}


def _cursor(asking: Question) -> int | None:
    text = asking.text("cursor")
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 2**64:
        return int(text)
    asking.faults.append(Fault("cursor", "the `next_cursor` of the page before"))
    return None
