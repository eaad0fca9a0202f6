"""The state of one request, to and from bytes.  Equal states have equal bytes.

Pure.  The bytes are already ClickHouse's row: the public fields of `schemas.state.FeedbackState`, and
under `merge` what the merger alone needs, without fields that hold nothing.  Versions take little room, since
most fields of a part were written by the same event:

    {"tenant": "acme", "request_id": "r1", "version": 9,
     "first_received_at": "...", "last_received_at": "...", "sources": ["native", "requesty"],
     "data": {"rating": 2, "tags": []}, "request": {"model": "m"},
     "merge": {"data": {"newest": 9, "older": {"tags": 4}, "cleared": {"comment": 7}},
               "request": {"newest": 5}, "retracted": 3, "recent": [["<event_id>", 4, "<hash>"]]}}

An erased row keeps its key and `erased`, and nothing else.
"""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Raw, Struct, field

NEVER = -1
"""Stands where no version is: below every version."""

_ERASED_END = b'"is_deleted":1}'

Fields = dict[str, Raw]
"""A part of a row: keys, and each value as JSON text."""

if TYPE_CHECKING:
    Closed = Raw | Fields
    """A part that stays JSON text until an event touches it: `request` is large, and few events do."""
else:
    Closed = Raw


class Versions(Struct, omit_defaults=True, gc=False):
    """The version of each key of one part: `newest` unless listed; cleared keys are always listed."""

    newest: int = NEVER
    older: dict[str, int] = {}
    cleared: dict[str, int] = {}


class Merge(Struct, omit_defaults=True, gc=False):
    """What the merge needs beside the public row.

    `recent` holds (event_id, version, hash of the body) of the newest idempotent events, oldest first.
    `read` is the version of the newest record of this key that was read, where that is above the row's
    version: a record that was refused, or a replay.
    """

    data: Versions = field(default_factory=Versions)
    request: Versions = field(default_factory=Versions)
    erased: int = NEVER
    retracted: int = NEVER
    recent: list[tuple[str, int, str]] = []
    read: int = NEVER


class State(Struct, gc=False):
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


class Stored(NamedTuple):
    """A row as it stands in the state topic, None for a tombstone, and its timestamp in milliseconds.

    That is the append time of the newest event in it.
    """

    value: bytes | None
    timestamp: int


class _Erased(Struct):
    tenant: Raw
    request_id: Raw
    erased: int
    is_deleted: int


_decode_state = msgspec.json.Decoder(State).decode
_decode_erased = msgspec.json.Decoder(_Erased).decode
_decode_fields = msgspec.json.Decoder(Fields).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def blank(tenant: str, request_id: str) -> State:
    """Return the state of a request of which nothing was read yet; it has no bytes before a merge."""
    return _empty(Raw(_encode(tenant)), Raw(_encode(request_id)), NEVER)


def _empty(tenant: Raw, request_id: Raw, erased: int) -> State:
    return State(tenant, request_id, erased, None, None, [], {}, {}, Merge(erased=erased))


def request_of(state: State) -> Fields:
    """Return the facts of the request, opened for good: changes to the result are changes to the state."""
    if not isinstance(state.request, dict):
        state.request = _decode_fields(state.request)
    return state.request


def decode(row: bytes) -> State:
    """Return the state that `encode` wrote, in this release or an earlier one; msgspec's error if none."""
    if not row.endswith(_ERASED_END):
        return _decode_state(row)
    erased = _decode_erased(row)
    return _empty(erased.tenant, erased.request_id, erased.erased)


class Damaged(ValueError):  # noqa: N818 (it is what the bytes are)
    """Bytes of a row that are no state, or another request's."""


def decode_of(key: bytes, row: bytes) -> State:
    """Return the state of a key; Damaged when the bytes are none that can be merged into, or not its own."""
    try:
        state = decode(row)
        if not (_is_quickly(key, state) or _is_of(key, state)):
            raise Damaged("it is the state of another request")
        if not isinstance(state.request, dict) and bytes(memoryview(state.request)[:1]) != b"{":
            raise Damaged("its request is no object")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"it is no state: {error}") from error
    return state


def _is_quickly(key: bytes, state: State) -> bool:
    """Compare texts as they are; what has to be written in another way in JSON is decoded instead."""
    return key == bytes(state.tenant)[1:-1] + b"/" + bytes(state.request_id)[1:-1]


def _is_of(key: bytes, state: State) -> bool:
    tenant, request_id = (msgspec.json.decode(one, type=str) for one in (state.tenant, state.request_id))
    return f"{tenant}/{request_id}".encode() == key


def encode(state: State) -> bytes:
    """Return the canonical bytes of a state."""
    if state.version == state.merge.erased:
        return _encode(_Erased(state.tenant, state.request_id, state.version, 1))
    return _encode(state)


def is_erased(row: bytes) -> bool:
    """Tell whether the bytes are an erased row, without decoding them."""
    return row.endswith(_ERASED_END)
