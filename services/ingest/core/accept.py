"""From what a caller said to the bytes of the event.  Pure.

Writing the event is the last check: orjson refuses what no later stage could read.
"""

from typing import Any

import orjson

from schemas.limits import MAX_EVENT_BYTES
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.validation import Faults
from services.ingest.dialects.dialect import Submission

MAX_IDEMPOTENCY_KEY_LENGTH = 256


def event_bytes(
    tenant: str, source: str, submission: Submission, event_id: str, received_at: str, *, idempotent: bool
) -> bytes:
    """Return the event as it goes to Kafka, at most MAX_EVENT_BYTES; raise Rejection otherwise."""
    request_id, data, request, op = submission
    event: dict[str, Any] = {
        "event_id": event_id,
        "tenant": tenant,
        "request_id": request_id,
        "received_at": received_at,
        "source": source,
        "op": op,
    }
    if data is not None:
        event["data"] = data
    if request is not None:
        event["request"] = request
    if idempotent:
        event["idempotent"] = True
    try:
        value = orjson.dumps(event)
    except TypeError:
        raise _refused(submission) from None
    if len(value) > MAX_EVENT_BYTES:
        raise Rejection(
            Code.TOO_LARGE, f"the event takes {len(value)} bytes; at most {MAX_EVENT_BYTES} are allowed"
        )
    return value


def _refused(submission: Submission) -> Rejection:
    """Find the path of an integer that the typed decoders let through."""
    faults = Faults()
    for name, fields in (("data", submission.data), ("request", submission.request)):
        if fields is not None:
            faults.fields(name, fields)
    try:
        faults.verdict()
    except Rejection as rejection:
        return rejection
    raise AssertionError("orjson refused an event in which nothing is wrong")


def idempotency_key(header: bytes) -> str:
    """Return the value of an Idempotency-Key header, or raise Rejection."""
    if not 0 < len(header) <= MAX_IDEMPOTENCY_KEY_LENGTH or not all(0x20 <= byte < 0x7F for byte in header):
        raise Rejection(
            Code.INVALID_FEEDBACK,
            f"Idempotency-Key: 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} visible ASCII characters are allowed",
        )
    return header.decode()
