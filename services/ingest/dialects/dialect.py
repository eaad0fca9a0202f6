"""What a dialect is: its routes, how it reads a body, and how it answers.  Pure.

A dialect is one file and one row in the table of this package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from schemas.events import Op
from schemas.identity import is_request_id
from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.ingest.core.errors import Code, Fault, Rejection, invalid

REQUEST_ID = "{request_id}"
"""The last segment of a route's path, where the path carries the id."""


class Submission(NamedTuple):
    """What a caller said about one request, judged and ready to become an event."""

    request_id: str
    data: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    op: Op = Op.MERGE


class Standing(StrEnum):
    """What became of a submission that is not at fault."""

    ACCEPTED = "accepted"
    REPEATED = "already_reported"
    UNKNOWN = "not_found"


class Receipt(NamedTuple):
    """What a caller is told.  `version` None: the event is in the log, but Kafka did not say where."""

    standing: Standing
    request_id: str
    event_id: str = ""
    version: int | None = None
    warnings: Sequence[Mapping[str, str]] = ()
    """Of facts that no column can hold."""


class Reply(NamedTuple):
    """An answer with a JSON body."""

    status: int
    body: bytes


Read = Callable[[str, bytes], Submission]
"""Takes the request id of the path (empty where the path has none) and the body; raises Rejection."""

Repeats = Callable[[dict[str, Any], dict[str, Any]], bool]
"""Takes the stored `data` and the submitted one; tells whether the same was said before."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path.  `read` None: the body is a batch, or one event, of the native dialect."""

    method: str
    path: str
    read: Read | None
    answer: Callable[[Receipt], Reply]
    has_body: bool = True
    repeats: Repeats | None = None
    """Given, an exact repeat of what is stored is answered as such."""


@dataclass(frozen=True)
class Dialect:
    """A way in which some clients speak.  Its name is the event's `source` and its own path prefix."""

    name: str
    routes: tuple[Route, ...]


def checked_id(request_id: str, path: str = "request_id") -> str:
    """Return the id, or raise the rejection that says what an id may be."""
    if is_request_id(request_id):
        return request_id
    if not request_id:
        raise invalid(Fault(path, "is empty"))
    if len(request_id) > MAX_REQUEST_ID_LENGTH:
        raise invalid(Fault(path, f"has more than {MAX_REQUEST_ID_LENGTH} characters"))
    raise invalid(Fault(path, "contains control characters"))


def acknowledge(receipt: Receipt) -> Reply:
    """Return the answer of dialects that have none of their own.

    Written by hand: it is on the hot path, and its shape never varies.
    """
    if receipt.standing is Standing.UNKNOWN:
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
