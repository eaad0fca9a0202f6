"""Requesty: `POST /feedback/{request_id}` with `{"data": {…}}`, and DELETE to retract.

Fields other than `data` are ignored.
"""

from typing import Any

from schemas.events import Op
from services.ingest.core.validation import DECODE_ERRORS, Faults, decode_requesty, json_type, parse
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Dialect,
    SingleRoute,
    Submission,
    acknowledge,
    checked_id,
)


def read(request_id: str, body: bytes) -> Submission:
    """Return the submission of a body; raise Rejection."""
    checked_id(request_id)
    try:
        return Submission(request_id, decode_requesty(body).data)
    except DECODE_ERRORS:
        return Submission(request_id, _validated(parse(body)))


def retract(request_id: str, _body: bytes) -> Submission:
    """Return the submission that retracts all earlier feedback."""
    return Submission(checked_id(request_id), op=Op.RETRACT)


def _validated(value: Any) -> dict[str, Any]:
    faults = Faults()
    if not isinstance(value, dict):
        faults.add("", f"must be an object with `data` in it, not {json_type(value)}")
    elif "data" not in value:
        faults.add("data", "is missing: an object with the feedback's keys")
    else:
        faults.fields("data", value["data"])
    faults.raise_if_any()
    data: dict[str, Any] = value["data"]
    return data


DIALECT = Dialect(
    "requesty",
    (
        SingleRoute(method="POST", path=f"/feedback/{REQUEST_ID}", read=read, answer=acknowledge),
        SingleRoute(
            method="DELETE",
            path=f"/feedback/{REQUEST_ID}",
            read=retract,
            answer=acknowledge,
            has_body=False,
            foreign_agents=(b"langsmith-",),
        ),
    ),
)
