"""Erasures over HTTP: what a body asks for, and how one looks.  Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from schemas.identity import is_request_id
from schemas.limits import MIB
from services.erasure.core.erasures import ErasureRecord, ErasureState, RequestedBy, user_hash
from services.query.core.problems import Fault, invalid

MAX_BODY_BYTES = 2 * MIB
"""Room for the longest user id that an event can have, also with every character escaped."""
MAX_REQUESTS = 1_000
DEFAULT_LIMIT, MAX_LIMIT = 50, 1_000

_ONE = "exactly one of `request_id`, `request_ids` and `user_id`"
_REQUEST_ID = "1 to 256 characters, no control characters"


def asked(tenant: str, body: bytes, erasure: UUID, now: datetime) -> ErasureRecord:
    """Return the erasure that a body asks for; raise Problem."""
    content = _object(body)
    unknown = content.keys() - {"request_id", "request_ids", "user_id"}
    if unknown or len(content) != 1:
        raise invalid(Fault("", _ONE))
    one = ErasureRecord(
        tenant=tenant, id=erasure, state=ErasureState.ASKED, asked_at=now, asked_by=RequestedBy.API
    )
    if "user_id" not in content:
        return _of_requests(one, content)
    user = content["user_id"]
    # Of any length that a body has: what an event could name has to be erasable.
    if not isinstance(user, str) or not user or not _is_text(user):
        raise invalid(Fault("user_id", "a string of at least one character"))
    return replace(one, user_hash=user_hash(tenant, user))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(Fault("", f"the body is no JSON: {error}")) from None
    if not isinstance(content, dict):
        raise invalid(Fault("", f"the body is no JSON object with {_ONE}"))
    return content


def _of_requests(one: ErasureRecord, content: Mapping[str, Any]) -> ErasureRecord:
    ((name, value),) = content.items()
    ids = value if name == "request_ids" else [value]
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_REQUESTS:
        raise invalid(Fault(name, f"a list of 1 to {MAX_REQUESTS:,} request ids"))
    faults = [
        Fault(name if name == "request_id" else f"{name}[{index}]", _REQUEST_ID)
        for index, given in enumerate(ids)
        if not isinstance(given, str) or not is_request_id(given)
    ]
    if faults:
        raise invalid(*faults[:20])
    return replace(one, asked_for=tuple(dict.fromkeys(ids)))


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def item(one: ErasureRecord, *, whole: bool) -> dict[str, Any]:
    """Return an erasure as callers get it; a list leaves out what may be long."""
    shown = {
        "id": str(one.id),
        "state": one.state,
        "asked_at": _time(one.asked_at),
        "asked_by": one.asked_by,
        "updated_at": _time(one.updated or one.asked_at),
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


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
