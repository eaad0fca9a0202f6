"""Afterword's own dialect: events, batches of events, and facts of requests."""

from typing import Any

from schemas.events import Op
from schemas.identity import is_request_id
from services.ingest.core.validation import (
    DECODE_ERRORS,
    Faults,
    NativeBody,
    decode_facts,
    decode_native,
    json_type,
    parse,
)
from services.ingest.dialects.dialect import (
    REQUEST_ID,
    Dialect,
    EventsRoute,
    SingleRoute,
    Submission,
    acknowledge,
    checked_at,
    checked_id,
    checked_item_id,
)

FIELDS = ("request_id", "data", "request", "op", "item_id", "at")


def read_event(body: bytes) -> Submission:
    """Return the submission of one event: a whole body, or an item of a batch."""
    try:
        event = decode_native(body)
    except DECODE_ERRORS:
        return _validated(parse(body))
    request_id, op, data, request = event.request_id, event.op, event.data, event.request
    if (
        op is Op.MERGE
        and (data is not None or request is not None)
        and event.item_id is None
        and event.at is None
        and is_request_id(request_id)
    ):
        return Submission(request_id, data, request)
    return _complete(event)


def _read_single(_request_id: str, body: bytes) -> Submission:
    return read_event(body)


def read_facts(request_id: str, body: bytes) -> Submission:
    """Return the submission of a request's facts: the body is the object of facts."""
    checked_id(request_id)
    try:
        return Submission(request_id, request=decode_facts(body))
    except DECODE_ERRORS:
        facts = parse(body)
    faults = Faults()
    if isinstance(facts, dict):
        faults.fields("", facts)
    else:
        faults.add("", f"must be an object with the request's facts, not {json_type(facts)}")
    faults.raise_if_any()
    return Submission(request_id, request=facts)


def _validated(value: Any) -> Submission:
    faults = Faults()
    if not isinstance(value, dict):
        faults.add("", f"must be an object, not {json_type(value)}")
        faults.raise_if_any()
    for name in value:
        if name not in FIELDS:
            faults.add(name[:40], f"is not a field of an event; the fields are {', '.join(FIELDS)}")
    _validate_id(faults, value)
    if isinstance(value.get("item_id"), str):
        faults.text("item_id", value["item_id"])
    if value.get("op", Op.MERGE) not in tuple(Op):
        faults.add("op", "must be merge, retract or erase")
    for name in ("data", "request"):
        if value.get(name) is not None:
            faults.fields(name, value[name])
    faults.raise_if_any()
    return _complete(NativeBody(**value))


def _validate_id(faults: Faults, value: dict[str, Any]) -> None:
    if "request_id" not in value:
        faults.add("request_id", "is missing: the id of the request that the feedback is about")
    elif not isinstance(value["request_id"], str):
        faults.add("request_id", f"must be a string, not {json_type(value['request_id'])}")
    else:
        faults.text("request_id", value["request_id"])


def _complete(event: NativeBody) -> Submission:
    faults = Faults()
    empty = event.data is None and event.request is None
    if event.op == Op.MERGE and empty:
        faults.add("", "needs `data`, `request` or both")
    if event.op != Op.MERGE and not empty:
        faults.add("op", f"is {event.op}, which carries neither data nor request")
    faults.raise_if_any()
    return Submission(
        checked_id(event.request_id),
        event.data,
        event.request,
        Op(event.op),
        checked_item_id(event.item_id),
        checked_at(event.at),
    )


DIALECT = Dialect(
    "native",
    (
        EventsRoute(method="POST", path="/v1/events", read=_read_single, answer=acknowledge),
        SingleRoute(method="PUT", path=f"/v1/requests/{REQUEST_ID}", read=read_facts, answer=acknowledge),
    ),
)
