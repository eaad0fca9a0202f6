"""The interface of a dialect: its routes, how it decodes a body, and how it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from schemas.events import Op
from schemas.identity import is_request_id
from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid

REQUEST_ID = "{request_id}"
"""The last segment of a route's path, where the path carries the id."""


class Submission(NamedTuple):
    """The validated content of an event about one request."""

    request_id: str
    data: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    op: Op = Op.MERGE


class ReceiptStatus(StrEnum):
    """The outcome of a valid submission."""

    ACCEPTED = "accepted"
    REPEATED = "already_reported"
    UNKNOWN = "not_found"


class Receipt(NamedTuple):
    """The content of an answer.  `version` None: the event is in Kafka, but its offset is unknown."""

    status: ReceiptStatus
    request_id: str
    event_id: str = ""
    version: int | None = None
    warnings: Sequence[Mapping[str, str]] = ()
    """Warnings about facts that their columns cannot hold."""


class Reply(NamedTuple):
    """A response with a JSON body."""

    status: int
    body: bytes


Read = Callable[[str, bytes], Submission]
"""Takes the request id of the path (empty if the path has none) and the body; raises Rejection."""

Repeats = Callable[[dict[str, Any], dict[str, Any]], bool]
"""Takes the stored `data` and the submitted `data`; returns whether the submission changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path.  `read` None: the body is a batch, or one event, in the native dialect."""

    method: str
    path: str
    read: Read | None
    answer: Callable[[Receipt], Reply]
    has_body: bool = True
    repeats: Repeats | None = None
    """If given, an exact repeat of the stored feedback is answered as a repeat."""


@dataclass(frozen=True)
class Dialect:
    """An HTTP interface that some clients use.  Its name is the event's `source`, and its path prefix."""

    name: str
    routes: tuple[Route, ...]


def checked_id(request_id: str, path: str = "request_id") -> str:
    """Return the id if it is valid, or raise Rejection."""
    if is_request_id(request_id):
        return request_id
    if not request_id:
        raise invalid(BodyFault(path, "is empty"))
    if len(request_id) > MAX_REQUEST_ID_LENGTH:
        raise invalid(BodyFault(path, f"has more than {MAX_REQUEST_ID_LENGTH} characters"))
    raise invalid(BodyFault(path, "contains control characters"))


def acknowledge(receipt: Receipt) -> Reply:
    """Return the default answer of dialects.

    The JSON is written by hand, because this is on the hot path and the format does not vary.
    """
    if receipt.status is ReceiptStatus.UNKNOWN:
        raise Rejection(
            Code.UNKNOWN_REQUEST,
            f"no facts of request {receipt.request_id!r} have arrived; nothing was written",
        )
    version = b"" if receipt.version is None else b',"version":"%d"' % receipt.version
    warnings = b',"warnings":%b' % orjson.dumps(receipt.warnings) if receipt.warnings else b""
    return Reply(
        202,
        b'{"status":"accepted","request_id":%b,"event_id":"%b"%b%b}'
        % (orjson.dumps(receipt.request_id), receipt.event_id.encode(), version, warnings),
    )
