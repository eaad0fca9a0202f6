"""The state of one request, to and from bytes.  Equal states have equal bytes.

The bytes are already ClickHouse's row: the public fields of `schemas.state.FeedbackState`, and under `merge`
what only the merger needs, without empty fields.  Versions are compact, since most fields of a part were
written by the same event:

    {"tenant": "acme", "request_id": "r1", "version": 9,
     "first_received_at": "...", "last_received_at": "...", "sources": ["native", "requesty"],
     "data": {"rating": 2, "tags": []}, "request": {"model": "m"},
     "merge": {"data": {"newest": 9, "older": {"tags": 4}, "cleared": {"comment": 7}},
               "request": {"newest": 5}, "retracted": 3, "recent": [["<event_id>", 4, "<hash>"]]}}

An erased row keeps only its key and `erased`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import MsgspecError, Raw, Struct, field

NEVER = -1
"""In place of a version where there is none: below every version."""

_ERASED_END = b'"is_deleted":1}'

Fields = dict[str, Raw]
"""A part of a row: keys, and each value as JSON text."""

if TYPE_CHECKING:
    Closed = Raw | Fields
    """A part that stays JSON text until an event changes it: `request` is large, and few events do."""
else:
    Closed = Raw


class Versions(Struct, omit_defaults=True, gc=False):
    """The version of each key of one part: `newest` unless listed; cleared keys are always listed."""

    newest: int = NEVER
    older: dict[str, int] = {}
    cleared: dict[str, int] = {}


class Merge(Struct, omit_defaults=True, gc=False):
    """What the merge needs besides the public row.

    `recent` holds (event_id, version, hash of the body) of the newest idempotent events, oldest first.
    `read` is the version of the newest record of this key that was read, if that is above the row's
    version: a record that was refused, or a replay.
    """

    data: Versions = field(default_factory=Versions)
    request: Versions = field(default_factory=Versions)
    erased: int = NEVER
    retracted: int = NEVER
    recent: list[tuple[str, int, str]] = []
    read: int = NEVER


class MergerState(Struct, gc=False):
    """A row in memory, changed in place by the merge.  Tenant and request id are JSON text."""

    tenant: Raw
    request_id: Raw
    version: int
    first_received_at: datetime | None
    last_received_at: datetime | None
    sources: list[str]
    data: Fields
    request: Closed
    merge: Merge


class StoredRow(NamedTuple):
    """A row of the state topic, None for a tombstone, and its timestamp in milliseconds.

    That is the append time of the newest event in it.
    """

    value: bytes | None
    timestamp: int


class _Erased(Struct):
    tenant: Raw
    request_id: Raw
    erased: int
    is_deleted: int


_decode_state = msgspec.json.Decoder(MergerState).decode
_decode_erased = msgspec.json.Decoder(_Erased).decode
_decode_fields = msgspec.json.Decoder(Fields).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def blank(tenant: str, request_id: str) -> MergerState:
    """Return the state of a request without events; it cannot be encoded before a merge."""
    return _empty(Raw(_encode(tenant)), Raw(_encode(request_id)), NEVER)


def _empty(tenant: Raw, request_id: Raw, erased: int) -> MergerState:
    return MergerState(tenant, request_id, erased, None, None, [], {}, {}, Merge(erased=erased))


def request_of(state: MergerState) -> Fields:
    """Return the decoded `request` part; changes to the result are changes to the state."""
    if not isinstance(state.request, dict):
        state.request = _decode_fields(state.request)
    return state.request


def decode(row: bytes) -> MergerState:
    """Return the state of bytes that `encode` wrote, in this release or an earlier one; MsgspecError."""
    if not row.endswith(_ERASED_END):
        return _decode_state(row)
    erased = _decode_erased(row)
    return _empty(erased.tenant, erased.request_id, erased.erased)


class Damaged(ValueError):  # noqa: N818 (it is what the bytes are)
    """Bytes of a row that are no state, or the state of another request."""


def decode_of(key: bytes, row: bytes) -> MergerState:
    """Return the state of a key; Damaged if the bytes cannot be merged into, or are of another key."""
    try:
        state = decode(row)
        if not (_is_literally_of(key, state) or _is_of(key, state)):
            raise Damaged("it is the state of another request")
        if not isinstance(state.request, dict) and bytes(memoryview(state.request)[:1]) != b"{":
            raise Damaged("its request is no object")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"it is no state: {error}") from error
    return state


def _is_literally_of(key: bytes, state: MergerState) -> bool:
    """Compare without decoding; names that JSON escapes are compared by `_is_of`."""
    return key == bytes(state.tenant)[1:-1] + b"/" + bytes(state.request_id)[1:-1]


def _is_of(key: bytes, state: MergerState) -> bool:
    tenant, request_id = (msgspec.json.decode(one, type=str) for one in (state.tenant, state.request_id))
    return f"{tenant}/{request_id}".encode() == key


def encode(state: MergerState) -> bytes:
    """Return the canonical bytes of a state."""
    if state.version == state.merge.erased:
        return _encode(_Erased(state.tenant, state.request_id, state.version, 1))
    return _encode(state)


def is_erased(row: bytes) -> bool:
    """Return whether the bytes are an erased row, without decoding them."""
    return row.endswith(_ERASED_END)


class OlderThan(NamedTuple):
    """When a row is idle: its newest event was received before `moment`, and its version is below `version`.

    The version is that of the first event in the log.  The moment is a time of ingest's clock; a row whose
    events are still in the log is not idle, however wrong that clock was.
    """

    moment: datetime
    version: int


def older_than(now_ms: int, idle_ms: int, version: int) -> OlderThan:
    """Return when a row is idle, given that rows are kept for `idle_ms` milliseconds without an event."""
    return OlderThan(datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(milliseconds=idle_ms), version)


def idle(rows: Iterable[tuple[bytes, bytes]], old: OlderThan) -> list[bytes]:
    """Return the keys of idle rows.

    Erased rows are not among them: they are removed by the time of their erase.  Damaged rows are kept.
    """
    return [key for key, row in rows if _is_idle(row, old)]


def _is_idle(row: bytes, old: OlderThan) -> bool:
    try:
        state = decode(row)
    except MsgspecError:
        return False
    newest = state.last_received_at
    return newest is not None and newest < old.moment and max(state.version, state.merge.read) < old.version
