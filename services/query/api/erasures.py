"""`/v1/erasures`: remove feedback of a request or a user for good; for keys with the scope `admin`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Request

from schemas.identity import is_request_id
from schemas.limits import MIB
from services.erasure.core import statements
from services.erasure.core.erasures import ErasureRecord, ErasureState, RequestedBy, user_hash
from services.erasure.tables import tables
from services.query.access import Admin
from services.query.api import models
from services.query.api.openapi import described, parameter
from services.query.api.params import params_of
from services.query.core.problems import ParamFault, ProblemCode, QueryProblem, invalid
from services.query.middleware import BODY_SECONDS
from services.query.store import FAILURES
from services.runtime.audit_log import AuditError, record
from services.runtime.clickhouse.core.statement import Statement

if TYPE_CHECKING:
    from services.query.service import QueryService
    from services.query.settings import QuerySettings

MAX_BODY_BYTES = 2 * MIB
"""Room for the longest user id that an event can have, also with every character escaped."""
MAX_REQUESTS = 1_000
DEFAULT_LIMIT, MAX_LIMIT = 50, 1_000

_ONE = "exactly one of `request_id`, `request_ids` and `user_id`"
_REQUEST_ID = "1 to 256 characters, no control characters"


def erasure_of(tenant: str, body: bytes, erasure: UUID, now: datetime) -> ErasureRecord:
    """Return the erasure that a body requests; raise QueryProblem."""
    content = _object(body)
    unknown = content.keys() - {"request_id", "request_ids", "user_id"}
    if unknown or len(content) != 1:
        raise invalid(ParamFault("", _ONE))
    one = ErasureRecord(
        tenant=tenant, id=erasure, state=ErasureState.ASKED, asked_at=now, asked_by=RequestedBy.API
    )
    if "user_id" not in content:
        return _of_requests(one, content)
    user = content["user_id"]
    # Of any length: every user id that an event can contain has to be erasable.
    if not isinstance(user, str) or not user or not _is_text(user):
        raise invalid(ParamFault("user_id", "a string of at least one character"))
    return replace(one, user_hash=user_hash(tenant, user))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(ParamFault("", f"the body is no JSON: {error}")) from None
    if not isinstance(content, dict):
        raise invalid(ParamFault("", f"the body is no JSON object with {_ONE}"))
    return content


def _of_requests(one: ErasureRecord, content: Mapping[str, Any]) -> ErasureRecord:
    ((name, value),) = content.items()
    ids = value if name == "request_ids" else [value]
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_REQUESTS:
        raise invalid(ParamFault(name, f"a list of 1 to {MAX_REQUESTS:,} request ids"))
    faults = [
        ParamFault(name if name == "request_id" else f"{name}[{index}]", _REQUEST_ID)
        for index, given in enumerate(ids)
        if not isinstance(given, str) or not is_request_id(given)
    ]
    if faults:
        raise invalid(*faults[:20])
    return replace(one, asked_for=tuple(dict.fromkeys(ids)))


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def item(one: ErasureRecord, *, whole: bool) -> dict[str, Any]:
    """Return an erasure as JSON; lists leave out the long members."""
    shown = {
        "id": str(one.id),
        "state": one.state,
        "asked_at": _rfc3339(one.asked_at),
        "asked_by": one.asked_by,
        "updated_at": _rfc3339(one.updated or one.asked_at),
        "user_hash": one.user_hash or None,
        "requests": len(one.request_ids or one.asked_for),
        "found": dict(one.found),
        "problem": one.problem or None,
    }
    if not whole:
        return shown
    return {
        **shown,
        "request_ids": list(one.request_ids or one.asked_for),
        "certificate": one.certificate,
    }


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


router = APIRouter(tags=["erasure"])

ACT = "POST /v1/erasures"
LIMIT = parameter(
    "limit", "How many at most.", type="integer", minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT
)
_POST = described(models.Erasure)
_POST["responses"][HTTPStatus.ACCEPTED] = _POST["responses"].pop(200)
_POST["openapi_extra"]["requestBody"] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErasureAsked"}}},
}


@router.post("/v1/erasures", operation_id="ask_for_erasure", status_code=HTTPStatus.ACCEPTED, **_POST)
async def ask_for_erasure(request: Request, admin: Admin) -> dict[str, Any]:
    """Erase requests, or everything of a user, in the background.

    Everything acknowledged before this call is erased; `GET /v1/erasures/{id}` returns the progress, and in
    the end a certificate of what is kept where and until when.
    """
    service: QueryService = request.app.state.service
    with params_of(request, filters=False):
        pass
    body = await _body(request)
    now = datetime.now(UTC)  # noqa: TID251 (the rim of the process)
    one = erasure_of(admin.tenant, body, uuid4(), now)
    _note(service.settings, "begun", one, admin.key_id)
    try:
        async with tables(service.settings) as written:
            await written.write(one)
    except FAILURES as error:
        _note(service.settings, "failed", one, admin.key_id)
        raise QueryProblem(
            ProblemCode.STORE_UNAVAILABLE,
            "ClickHouse did not store the request, so nothing is erased; try again in a moment",
        ) from error
    _note(service.settings, "done", one, admin.key_id)
    return item(one, whole=True)


@router.get("/v1/erasures", operation_id="list_erasures", **described(models.Erasures, LIMIT))
async def list_erasures(request: Request, admin: Admin) -> dict[str, Any]:
    """Return the tenant's erasures, the newest first."""
    service: QueryService = request.app.state.service
    with params_of(request, {"limit"}, filters=False) as asking:
        limit = asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
    found = await _found(service, statements.erasures(admin.tenant, limit=limit))
    return {"items": [item(one, whole=False) for one in found]}


@router.get(
    "/v1/erasures/{erasure_id}",
    operation_id="read_erasure",
    **described(models.Erasure, also=(ProblemCode.UNKNOWN_ERASURE,)),
)
async def read_erasure(request: Request, admin: Admin, erasure_id: str) -> dict[str, Any]:
    """Return the state of an erasure, and its certificate once it is verified."""
    service: QueryService = request.app.state.service
    with params_of(request, filters=False):
        pass
    found = await _found(service, statements.erasures(admin.tenant, _id(erasure_id)))
    if not found:
        raise _unknown()
    return item(found[0], whole=True)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown() from None


def _unknown() -> QueryProblem:
    return QueryProblem(ProblemCode.UNKNOWN_ERASURE, "no erasure of this tenant has this id")


async def _found(service: "QueryService", statement: Statement) -> list[ErasureRecord]:
    rows = await service.store.rows(Statement(statement.sql, dict(statement.parameters)))
    return [ErasureRecord.of(row) for row in rows]


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Forms of other sites cannot send this type without a CORS preflight.
        raise invalid(ParamFault("", "send a JSON object, with the header `content-type: application/json`"))
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise invalid(ParamFault("", f"the body is longer than {MAX_BODY_BYTES:,} bytes"))
    except TimeoutError:
        raise invalid(ParamFault("", f"the body did not arrive within {BODY_SECONDS:g} s")) from None
    return body


def _note(settings: "QuerySettings", outcome: str, one: ErasureRecord, key_id: str) -> None:
    """Record the outcome in the audit log; QueryProblem if that fails."""
    now = datetime.now(UTC)  # noqa: TID251 (the rim of the process)
    about = "user" if one.user_hash else "requests"
    try:
        record(
            settings, ACT, outcome, now, tenant=one.tenant, key=key_id or None, erasure=str(one.id),
            about=about, requests=len(one.asked_for),
        )  # fmt: skip
    except AuditError as error:
        raise QueryProblem(ProblemCode.STORE_UNAVAILABLE, f"{error}; nothing is erased without it") from error
