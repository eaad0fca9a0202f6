"""The interface of a dialect: its routes, how it decodes a body, and how it answers.

A route is one of five kinds: one submission a body (`SingleRoute`), events in Afterword's own format
(`EventsRoute`), several items a body (`ItemsRoute`), something about stored events (`LookupRoute`), or always
the same answer (`FixedRoute`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from schemas.events import Op
from schemas.identity import is_request_id
from schemas.instants import FORMS, instant_of, rfc3339
from schemas.limits import MAX_REQUEST_ID_LENGTH
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid
from services.ingest.core.validation import Faults, are_valid, json_type, member_path

REQUEST_ID = "{request_id}"
"""The last segment of a route's path, where the path carries the id."""


class Submission(NamedTuple):
    """The validated content of an event about one request."""

    request_id: str
    data: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    op: Op = Op.MERGE
    item_id: str = ""
    """The id that the client's system gives the item, or empty: see `checked_item_id`."""
    at: str = ""
    """When it was given, RFC 3339 UTC with up to microseconds, or empty: see `checked_at`."""


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
    """A response.  Its body is JSON unless `content_type` differs."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"


class DialectCall(NamedTuple):
    """A request, as far as a dialect needs it."""

    request_id: str
    """The id in the path, empty if the path has none."""
    body: bytes
    """Decompressed; empty if the route has no body."""
    media_type: str
    """Of the body, in lower case and without parameters."""
    query: str
    """The query string, percent-encoded."""
    base_url: str
    """The address of the dialect as the client sees it, without a slash at the end."""
    now: datetime
    """The time at which the request arrived, in UTC."""
    nonce: bytes
    """Random bytes of this call, enough for secrets."""
    headers: Mapping[bytes, bytes] = MappingProxyType({})
    """By name in lower case."""


class Item(NamedTuple):
    """An item of a body: its submission, None if it holds nothing that is kept, or why it is rejected."""

    id: str
    """What the answer calls it."""
    content: Submission | Rejection | None
    once: str = ""
    """An Idempotency-Key of the item, for clients that repeat a request with the same key."""


class ItemOutcome(NamedTuple):
    """What became of an item: its receipt, None if there was nothing to keep, or why it was rejected."""

    id: str
    result: Receipt | Rejection | None


class PastEvent(NamedTuple):
    """An event as ClickHouse has it.  `data` and `request` are empty where it carries none."""

    tenant: str
    request_id: str
    version: int
    event_id: str
    item_id: str
    op: Op
    source: str
    received_at: datetime
    at: datetime | None
    data: dict[str, Any]
    request: dict[str, Any]


class StoredQuery(NamedTuple):
    """Which events to read: all of the requests named, and of the request that an item belongs to."""

    item_id: str = ""
    request_ids: Sequence[str] = ()


class Decision(NamedTuple):
    """The result of a by-id call: events to publish, in order, and the answer once Kafka has them."""

    reply: Reply
    submissions: Sequence[Submission] = ()
    tenant: str = ""
    """Whose they are, for a route that is public; others publish for their caller."""


Read = Callable[[str, bytes], Submission]
"""Takes the request id of the path (empty if the path has none) and the body; raises Rejection."""

Repeats = Callable[[dict[str, Any], dict[str, Any]], bool]
"""Takes the stored `data` and the submitted `data`; returns whether the submission changes nothing."""

JSON_TYPE = "application/json"


class RouteDoc(NamedTuple):
    """What `/openapi.json` shows of a route."""

    summary: str
    body: Any = None
    """An example of a body that is JSON."""
    answer: Any = None
    """An example of the answer."""
    answer_type: str = JSON_TYPE
    """Of answers to people who follow a link; other errors are JSON."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path; one of the classes below."""

    method: str
    path: str
    has_body: bool = True
    is_bare: bool = True
    """Also available without the dialect's prefix."""
    fits: Callable[[Any], bool] | None = None
    """Whether a decoded body is this dialect's, where dialects share a path."""
    looks_for: str = ""
    """The fields by which `fits` decides, for error messages."""
    doc: RouteDoc | None = None
    problem: Callable[[Rejection, bytes], Reply] | None = None
    """The answer to a request that is rejected, by its Content-Type; by default that of the dialect."""


@dataclass(frozen=True, kw_only=True)
class SingleRoute(Route):
    """Takes one submission."""

    read: Read
    answer: Callable[[Receipt], Reply]
    repeats: Repeats | None = None
    """If given, an exact repeat of the stored feedback is answered as a repeat."""
    foreign_agents: tuple[bytes, ...] = ()
    """Starts of User-Agent of other systems' clients: without a body, only that shows what they mean."""


@dataclass(frozen=True, kw_only=True)
class EventsRoute(SingleRoute):
    """Takes one event, or a batch of events in the native dialect."""


@dataclass(frozen=True, kw_only=True)
class ItemsRoute(Route):
    """Takes items, each with its own outcome.  If Kafka does not take one, the whole request is 503."""

    read_items: Callable[[DialectCall], Sequence[Item]]
    """Raises Rejection for a body that cannot be divided into items."""
    answer_items: Callable[[DialectCall, Sequence[ItemOutcome]], Reply]
    media_types: tuple[str, ...] = (JSON_TYPE,)


@dataclass(frozen=True, kw_only=True)
class LookupRoute(Route):
    """Reads stored events, once ClickHouse has all that were logged before, and may publish others."""

    query: Callable[[DialectCall], StoredQuery]
    decide: Callable[[DialectCall, Sequence[PastEvent]], Decision]
    """Takes the events of the requests asked for, by version; raises Rejection.

    Where the route is public, only those that have the item id, and erases of their requests.
    """
    changes: bool = False
    """Needs the scope `write`; otherwise `read`."""
    is_public: bool = False
    """Needs no key: the id is a secret, and is looked for in all tenants."""


@dataclass(frozen=True, kw_only=True)
class FixedRoute(Route):
    """Always gives the same answer."""

    reply: Reply
    needs_key: bool = False
    """Only to callers with the scope `write`; otherwise to every caller."""


@dataclass(frozen=True)
class Dialect:
    """An HTTP interface that some clients use.  Its name is the event's `source`, and its path prefix."""

    name: str
    routes: tuple[Route, ...]
    problem: Callable[[Rejection], Reply] | None = None
    """The answer to a request that is rejected; by default `application/problem+json`."""
    territory: tuple[str, ...] = ()
    """Starts of paths that clients of the dialect use without its prefix: requests for others are counted."""
    untaken: tuple[str, ...] = ()
    """Paths that a route with an id would match, and that count as paths without a route."""


def checked_id(request_id: str, path: str = "request_id") -> str:
    """Return the id if it is valid, or raise Rejection."""
    if is_request_id(request_id):
        return request_id
    if not request_id:
        raise invalid(BodyFault(path, "is empty"))
    if len(request_id) > MAX_REQUEST_ID_LENGTH:
        raise invalid(BodyFault(path, f"has more than {MAX_REQUEST_ID_LENGTH} characters"))
    raise invalid(BodyFault(path, "contains control characters"))


def checked_item_id(value: object, path: str = "item_id") -> str:
    """Return the id of an item, empty for None, or raise Rejection."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid(BodyFault(path, "must be a string"))
    return checked_id(value, path)


def checked_at(value: object, path: str = "at") -> str:
    """Return a time of any form in `FORMS` as RFC 3339 UTC, empty for None, or raise Rejection."""
    if value is None:
        return ""
    if (moment := instant_of(value)) is None:
        raise invalid(BodyFault(path, f"is not a time; it takes {FORMS}"))
    return rfc3339(moment)


def submission(
    request_id: str,
    data: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
    *,
    item_id: str = "",
    at: Any = None,
) -> Submission:
    """Return the submission of values that nothing has validated yet; raise Rejection.

    `at` is a time in any form that facts may have; anything but a time from 1970 to 2099 is omitted.
    """
    faults = Faults()
    for name, fields in (("data", data), ("request", request)):
        if fields is not None and not are_valid(fields):
            faults.fields(name, fields)
    faults.raise_if_any()
    given = instant_of(at)
    return Submission(
        checked_id(request_id),
        None if data is None else dict(data),
        None if request is None else dict(request),
        item_id=checked_id(item_id, "id") if item_id else "",
        at="" if given is None else rfc3339(given),
    )


def member(value: Any, name: str, kind: type, path: str = "") -> Any:
    """Return a member of an object, None if it is null or missing; raise Rejection if it has another type.

    `path` is that of the object.
    """
    if not isinstance(value, dict):
        raise invalid(BodyFault(path, f"must be an object, not {json_type(value)}"))
    entry = value.get(name)
    if entry is not None and not isinstance(entry, kind):
        raise invalid(BodyFault(member_path(path, name), f"must be {TYPES[kind]}, not {json_type(entry)}"))
    return entry


def required(value: Any, name: str, kind: type, path: str = "") -> Any:
    """Return a member of an object as `member` does; raise Rejection also if it is null or missing."""
    entry = member(value, name, kind, path)
    if entry is None:
        raise invalid(BodyFault(member_path(path, name), "is missing"))
    return entry


def number(value: Any, name: str, path: str = "") -> Any:
    """Return a member of an object that is a number or a boolean; raise Rejection otherwise."""
    entry = required(value, name, object, path)
    if not isinstance(entry, bool | int | float):
        detail = f"must be a number or a boolean, not {json_type(entry)}"
        raise invalid(BodyFault(member_path(path, name), detail))
    return entry


TYPES: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
"""The types of members, for error messages."""


RESERVED = ("comment", "user_id")
"""Keys of `data` with a meaning of their own."""


def score_key(name: str) -> str:
    """Return the key of a score; one that is named like a comment or a rater must not replace them."""
    return f"{name}_score" if name in RESERVED else name


def receipts(outcomes: Iterable[ItemOutcome]) -> list[Receipt | None]:
    """Return the receipts of items, or raise the first rejection: for answers without a verdict for each."""
    results = []
    for outcome in outcomes:
        if isinstance(outcome.result, Rejection):
            raise outcome.result
        results.append(outcome.result)
    return results


def items_each(entries: Iterable[tuple[str, Any]], read: Callable[[Any], Submission | None]) -> list[Item]:
    """Return an item for each (id, entry); an entry that `read` raises Rejection for is a rejected one."""
    items = []
    for item_id, entry in entries:
        try:
            items.append(Item(item_id, read(entry)))
        except Rejection as rejection:
            items.append(Item(item_id, rejection))
    return items


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
