"""`/v1/erasures`: remove a person's feedback for good; for keys with the scope `admin`."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Request

from services.erasure.core import statements
from services.erasure.core.erasures import ErasureRecord
from services.erasure.tables import tables
from services.query.access import Admin
from services.query.api import models
from services.query.api.core.erasures import DEFAULT_LIMIT, MAX_BODY_BYTES, MAX_LIMIT, asked, item
from services.query.api.openapi import described, parameter
from services.query.api.params import question
from services.query.core.problems import Code, Fault, Problem, invalid
from services.query.disconnect import BODY_SECONDS
from services.query.store import FAILURES
from services.runtime.audit_log import AuditError, record
from services.runtime.clickhouse.core.statement import Statement

if TYPE_CHECKING:
    from services.query.service import Service
    from services.query.settings import QuerySettings

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
    """Erase requests, or everything that names a user; it is carried out in the background.

    What was acknowledged before this call is erased, wherever it is; `GET /v1/erasures/{id}` says how far
    that is, and in the end what is kept where until when.
    """
    service: Service = request.app.state.service
    with question(request, filters=False):
        pass
    body = await _body(request)
    now = datetime.now(UTC)  # noqa: TID251 (the rim of the process)
    one = asked(admin.tenant, body, uuid4(), now)
    _note(service.settings, "begun", one, admin.key_id)
    try:
        async with tables(service.settings) as written:
            await written.write(one)
    except FAILURES as error:
        _note(service.settings, "failed", one, admin.key_id)
        raise Problem(
            Code.STORE_UNAVAILABLE, "ClickHouse did not take it, so nothing is erased; try again in a moment"
        ) from error
    _note(service.settings, "done", one, admin.key_id)
    return item(one, whole=True)


@router.get("/v1/erasures", operation_id="list_erasures", **described(models.Erasures, LIMIT))
async def list_erasures(request: Request, admin: Admin) -> dict[str, Any]:
    """Return the tenant's erasures, the newest first."""
    service: Service = request.app.state.service
    with question(request, {"limit"}, filters=False) as asking:
        limit = asking.whole("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
    found = await _found(service, statements.erasures(admin.tenant, limit=limit))
    return {"items": [item(one, whole=False) for one in found]}


@router.get(
    "/v1/erasures/{erasure_id}",
    operation_id="read_erasure",
    **described(models.Erasure, also=(Code.UNKNOWN_ERASURE,)),
)
async def read_erasure(request: Request, admin: Admin, erasure_id: str) -> dict[str, Any]:
    """Return how far an erasure is, and its certificate once it is verified."""
    service: Service = request.app.state.service
    with question(request, filters=False):
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


def _unknown() -> Problem:
    return Problem(Code.UNKNOWN_ERASURE, "no erasure of this tenant has this id")


async def _found(service: "Service", statement: Statement) -> list[ErasureRecord]:
    rows = await service.store.rows(Statement(statement.sql, dict(statement.parameters)))
    return [ErasureRecord.of(row) for row in rows]


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # No form of another site can send this type without asking first.
        raise invalid(Fault("", "send a JSON object, with the header `content-type: application/json`"))
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise invalid(Fault("", f"the body is longer than {MAX_BODY_BYTES:,} bytes"))
    except TimeoutError:
        raise invalid(Fault("", f"the body did not arrive within {BODY_SECONDS:g} s")) from None
    return body


def _note(settings: "QuerySettings", outcome: str, one: ErasureRecord, key_id: str) -> None:
    """Write it into the audit log; Problem when that is impossible."""
    now = datetime.now(UTC)  # noqa: TID251 (the rim of the process)
    about = "user" if one.user_hash else "requests"
    try:
        record(
            settings, ACT, outcome, now, tenant=one.tenant, key=key_id or None, erasure=str(one.id),
            about=about, requests=len(one.asked_for),
        )  # fmt: skip
    except AuditError as error:
        raise Problem(Code.STORE_UNAVAILABLE, f"{error}; nothing is erased without that") from error
