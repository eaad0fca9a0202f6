"""`/v1/feedback`: rows in pages, rows as a file, one request's row, and its history."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.query.access import Reader
from services.query.api import models
from services.query.api.openapi import FILTERS, described, page_parameters, parameter
from services.query.api.params import Params, params_of, request_id_of
from services.query.core.problems import ParamFault, ProblemCode, QueryProblem
from services.query.exports.core.assembly import DEFAULT_FORMAT, FORMATS, Assembly, FileFormat
from services.query.exports.core.encoder import FileOptions, choose_encoding, compressor
from services.query.exports.core.rows import ExportSelection
from services.query.exports.streaming import ExportReply, headers, pieces
from services.query.reads import history
from services.query.reads.core.filters import Filters
from services.query.reads.core.listing import DEFAULT_ORDER, ORDER_NAMES
from services.query.reads.listing import DEFAULT_LIMIT, MAX_LIMIT, page_of
from services.query.waiting import Wait, answer, check_generation, parse_version, parse_wait

if TYPE_CHECKING:
    from services.query.service import QueryService


router = APIRouter(tags=["feedback"])

ROW_ORDER = parameter(
    "order",
    "The column to order by, `-` for descending; rows without a value come last, equal ones by `request_id`.",
    enum=[*ORDER_NAMES],
    default=DEFAULT_ORDER,
)


@router.get(
    "/v1/feedback",
    operation_id="list_feedback",
    **described(models.Page, *FILTERS, ROW_ORDER, *page_parameters(MAX_LIMIT, DEFAULT_LIMIT)),
)
async def list_feedback(request: Request, reader: Reader) -> dict[str, Any]:
    """Return rows in pages: all filters have to match, and of several values of one parameter any.

    Pages stay consistent while rows change: an unchanged row is returned exactly once.
    """
    service: QueryService = request.app.state.service
    with params_of(request, {"order", "limit", "cursor"}) as asking:
        filters = asking.filters()
        order = asking.choice("order", ORDER_NAMES, DEFAULT_ORDER)
        limit = asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
        cursor = asking.text("cursor")
    page = await page_of(service.store, reader.tenant, filters, order=order, limit=limit, cursor=cursor)
    return {"items": page.items, "next_cursor": page.next_cursor}


EXPORT_OPTIONS = ("trailer", "bom")
EXPORT_PARAMETERS = ("format", "limit", "cursor", *EXPORT_OPTIONS)
MAX_EXPORT_LIMIT = 10**12


EXPORT_DESCRIBED = (
    parameter("format", "The format of the file.", enum=[*FORMATS], default=DEFAULT_FORMAT),
    parameter("limit", "How many rows at most.", type="integer", minimum=1, maximum=MAX_EXPORT_LIMIT),
    parameter(
        "cursor",
        "The request id of the last row that you have: resume after it.",
        maxLength=MAX_REQUEST_ID_LENGTH,
    ),
    *(parameter(name, "For CSV and NDJSON.", enum=["true", "false"]) for name in EXPORT_OPTIONS),
)
FILE = {
    "description": "The file.",
    "content": {
        format_.media_type.partition(";")[0]: {"schema": {"type": "string"}} for format_ in FORMATS.values()
    },
}


@router.get(
    "/v1/feedback/export", operation_id="export_feedback", **described(FILE, *FILTERS, *EXPORT_DESCRIBED)
)
async def export_feedback(request: Request, reader: Reader) -> Response:
    """Return all rows in the order of their request ids, as CSV, NDJSON or Parquet."""
    with params_of(request, EXPORT_PARAMETERS) as asking:
        filters = asking.filters()
        format_ = FORMATS[asking.choice("format", FORMATS, DEFAULT_FORMAT)]
        wanted = _wanted(reader.tenant, filters, asking)
        options = FileOptions(**{name: _switch(asking, name, format_) for name in EXPORT_OPTIONS})
    accepted = request.headers.get("accept-encoding", "")
    encoding = None if format_.is_compressed else choose_encoding(accepted)
    assembly = Assembly(wanted, format_.encoder(options), compressor(encoding) if encoding else None)
    now = datetime.fromtimestamp(time.time(), UTC)
    service = request.app.state.service
    return ExportReply(
        pieces(service.store, assembly),
        assembly,
        lambda rows: headers(format_, rows, encoding, now),
        lambda: service.access.may_still_read(request, reader.tenant),
    )


def _wanted(tenant: str, filters: Filters, asking: Params) -> ExportSelection:
    cursor = asking.text("cursor")
    if len(cursor) > MAX_REQUEST_ID_LENGTH:
        asking.faults.append(ParamFault("cursor", "the request id of the last row that you have"))
    limit = asking.whole("limit", 0, least=1, most=MAX_EXPORT_LIMIT) if asking.text("limit") else None
    return ExportSelection(tenant, filters, cursor, limit)


def _switch(asking: Params, name: str, format_: FileFormat) -> bool:
    wanted = asking.choice(name, ("true", "false"), "false") == "true"
    if wanted and name not in format_.options:
        asking.faults.append(ParamFault(name, f"{format_.name} files do not have it"))
    return wanted


def _request_id(request_id: Annotated[str, Path()]) -> str:
    return request_id_of(request_id)


RequestId = Annotated[str, Depends(_request_id)]
"""The request id in a raw path."""

EVENT_ORDERS = ("version", "-version")


MIN_VERSION = parameter(
    "min_version",
    "The `version` of an acknowledgement: return the outcome of that event.",
    pattern="^[0-9]*$",
)
WAIT = parameter("wait", "How long to wait for `min_version`: `2s`, `500ms`.", examples=["2s"])
EVENT_ORDER = parameter(
    "order", "Oldest first, or newest first.", enum=[*EVENT_ORDERS], default=EVENT_ORDERS[0]
)


@router.get(
    "/v1/feedback/{request_id}",
    operation_id="read_feedback",
    **described(models.Waited, MIN_VERSION, WAIT, also=(ProblemCode.UNKNOWN_REQUEST,)),
)
async def read_feedback(request: Request, reader: Reader, request_id: RequestId) -> dict[str, Any]:
    """Return the row of one request, and its raters.

    With `min_version`, also the outcome of that event, once known.
    """
    service: QueryService = request.app.state.service
    with params_of(request, {"min_version", "wait"}, filters=False) as asking:
        wait = _wait(asking, service.settings.query_max_wait_seconds)
    if wait is None:
        row = await history.point(service.store, reader.tenant, request_id)
        members: dict[str, Any] = {}
    else:
        check_generation(wait, await service.positions.generation(wait.generation))
        waited = await answer(service.store, service.positions, reader.tenant, request_id, wait)
        row, members = waited.row, waited.members()
    if row is None:
        raise QueryProblem(ProblemCode.UNKNOWN_REQUEST, _absent(members), extra=members)
    return row | members | await history.raters(service.store, reader.tenant, request_id)


def _wait(asking: Params, most: float) -> Wait | None:
    version, wait = asking.text("min_version"), asking.text("wait")
    if not version:
        if wait:
            asking.faults.append(
                ParamFault("wait", "it is the longest wait for `min_version`; give that too")
            )
        return None
    seconds = asking.read(lambda: parse_wait(wait, most), 0.0) if wait else 0.0
    return Wait(asking.read(lambda: parse_version(version), 0), seconds)


def _absent(members: dict[str, Any]) -> str:
    """Return why there is no row, and what to do."""
    match members.get("outcome"):
        case "pending":
            return "there is no row yet; ask again, with `wait` to be answered as soon as there is one"
        case "dead_lettered":
            return "the event was dead-lettered, and nothing else of the request is stored"
        case "merged" | "ignored":
            return "the request was erased, or no event of it has this version"
        case _:
            return "no feedback and no request data is stored for this request, or it was erased"


@router.get(
    "/v1/feedback/{request_id}/events",
    operation_id="read_events",
    **described(
        models.History,
        EVENT_ORDER,
        *page_parameters(history.MAX_LIMIT, history.DEFAULT_LIMIT),
        also=(ProblemCode.UNKNOWN_REQUEST,),
    ),
)
async def read_events(request: Request, reader: Reader, request_id: RequestId) -> dict[str, Any]:
    """Return the history of a request: every event, its outcome, and what it changed."""
    service: QueryService = request.app.state.service
    with params_of(request, {"order", "limit", "cursor"}, filters=False) as asking:
        order = asking.choice("order", EVENT_ORDERS, EVENT_ORDERS[0])
        limit = asking.whole("limit", history.DEFAULT_LIMIT, least=1, most=history.MAX_LIMIT)
        after = _event_cursor(asking)
    page = await history.event_page(
        service.store, reader.tenant, request_id, limit=limit, after=after, newest_first=order == "-version"
    )
    if not page.items and after is None:
        raise QueryProblem(ProblemCode.UNKNOWN_REQUEST, "no event of this request is stored")
    cursor = None if page.next_version is None else str(page.next_version)
    return {"request_id": request_id, "items": page.items, "next_cursor": cursor}


def _event_cursor(asking: Params) -> int | None:
    text = asking.text("cursor")
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 2**64:
        return int(text)
    asking.faults.append(ParamFault("cursor", "the `next_cursor` of the previous page"))
    return None
