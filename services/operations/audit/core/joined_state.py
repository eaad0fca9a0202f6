"""One state of a request from all that is known of it: its events, its older record, its row.

Each source alone may lack something: events leave the table, a topic is lost or cut short, a row has nothing
of how it was merged.  Each key belongs to the newest event that names it, so a state is the sum of what its
keys' events set, and two states add up by the merge's own law.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from msgspec import MsgspecError, Raw

from schemas.events import Op
from schemas.identity import event_key
from schemas.limits import MAX_SOURCES, RECENT_EVENTS
from services.merger.core import state as states
from services.merger.core.events import DecodedEvent
from services.merger.core.merge import merge
from services.merger.core.state import NEVER, Fields, MergerState, Versions, request_of

_NULL = Raw(b"null")
_NOBODY = UUID(int=0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StateRow(NamedTuple):
    """A row of `feedback_state`; `data` and `request` are JSON text, times RFC 3339."""

    version: int
    first_received_at: str
    last_received_at: str
    sources: list[str]
    data: str
    request: str


def lifted(
    tenant: str, request_id: str, sources: Sequence[bytes | None], row: StateRow | None, erased: int
) -> bytes | None:
    """Return the state that holds all of these, None where nothing is known.

    `sources` are states as bytes; what is no state of this request is ignored.  `erased`: up to which
    version everything is erased, whatever a source has.
    """
    state: MergerState | None = None
    for value in sources:
        one = None if value is None else state_of(value, event_key(tenant, request_id))
        if one is not None:
            state = one if state is None else _joined(state, one)
    if row is not None:
        state = _beside(state, _of_row(tenant, request_id, row))
    if erased != NEVER:
        state = state or states.blank(tenant, request_id)
        merge(state, _event(Op.ERASE), erased)
    return None if state is None else states.encode(state)


def joined(one: bytes, other: bytes) -> bytes:
    """Return a state with everything that two states of one request have; MsgspecError for other bytes."""
    first, second = states.decode(one), states.decode(other)
    read = max(first.merge.read, second.merge.read)
    both = _joined(first, second)
    both.merge.read = read
    return states.encode(both)


def key_versions(state: MergerState) -> tuple[dict[str, int], dict[str, int]]:
    """Return the version of every key of `data` and of `request`, cleared ones included."""
    data, request = (_spread(part, versions) for _, part, versions in _parts(state))
    return data, request


def state_of(value: bytes, key: bytes) -> MergerState | None:
    """Return the state of a key, None for bytes that are none, or another key's."""
    with suppress(MsgspecError, ValueError):
        state = states.decode(value)
        if event_key(orjson.loads(bytes(state.tenant)), orjson.loads(bytes(state.request_id))) == key:
            return state
    return None


def _of_row(tenant: str, request_id: str, row: StateRow) -> MergerState:
    """Return a row as a state; that every key is as new as the row is the most that it can be."""
    body: dict[str, Any] = {
        "tenant": tenant,
        "request_id": request_id,
        **row._asdict(),
        "data": orjson.Fragment(row.data),
        "request": orjson.Fragment(row.request),
        "merge": {},
    }
    state = states.decode(orjson.dumps(body))
    for part, versions in ((state.data, state.merge.data), (request_of(state), state.merge.request)):
        versions.newest = row.version if part else NEVER
    state.first_received_at, state.last_received_at = (
        _time(state.first_received_at),
        _time(state.last_received_at),
    )
    return state


def _time(moment: datetime | None) -> datetime | None:
    """Return a time of a row, in which 1970 is no time."""
    return None if moment == _EPOCH else moment


def _joined(one: MergerState, other: MergerState) -> MergerState:
    """Add what another state knows to a state."""
    seen = _seen(one, other)
    version = max(one.version, other.version)
    own = other.merge
    if own.erased != NEVER:
        merge(one, _event(Op.ERASE), own.erased)
    if own.retracted != NEVER:
        merge(one, _event(Op.RETRACT), own.retracted)
    for name, part, versions in _parts(other):
        for key, at in _spread(part, versions).items():
            merge(one, _event(Op.MERGE, **{name: {key: part.get(key, _NULL)}}), at)
    known = {(entry[0], entry[1]): entry for entry in (*one.merge.recent, *own.recent)}
    recent = sorted((entry for entry in known.values() if entry[1] > one.merge.erased), key=lambda it: it[1])
    one.merge.recent = recent[-RECENT_EVENTS:]
    one.merge.read = NEVER
    return _stamped(one, version, seen)


def _beside(state: MergerState | None, row: MergerState) -> MergerState:
    """Add what a row knows to a state: it is complete for its version, and knows nothing of earlier ones."""
    if state is None:
        return row
    seen = _seen(state, row)
    if row.version > state.version:
        before = {name: part for name, part, _ in _parts(state)}
        for name, part, _ in _parts(row):
            changed = {key: value for key, value in part.items() if before[name].get(key) != value}
            gone = {key: _NULL for key in before[name] if key not in part}
            if changed or gone:
                merge(state, _event(Op.MERGE, **{name: {**changed, **gone}}), row.version)
        return _stamped(state, row.version, seen)
    own = {name: _spread(part, versions) for name, part, versions in _parts(state)}
    for name, part, _ in _parts(row):
        # What was taken back or erased before this row was written is not in it.
        if lost := {key: value for key, value in part.items() if key not in own[name]}:
            merge(state, _event(Op.MERGE, **{name: lost}), row.version)
    return _stamped(state, max(state.version, row.version), seen)


def _parts(state: MergerState) -> Iterator[tuple[str, Fields, Versions]]:
    yield "data", state.data, state.merge.data
    yield "request", request_of(state), state.merge.request


def _spread(part: Fields, versions: Versions) -> dict[str, int]:
    """Return the version of every key, cleared ones included."""
    return {key: versions.older.get(key, versions.newest) for key in part} | versions.cleared


def _event(op: Op, data: Fields | None = None, request: Fields | None = None) -> DecodedEvent:
    # Times and sources are put right afterwards.
    return DecodedEvent(_NOBODY, "", "", _EPOCH, "-", op, data, request)


class _Seen(NamedTuple):
    version: int
    first: datetime | None
    last: datetime | None
    sources: list[str]


def _seen(*several: MergerState) -> list[_Seen]:
    """Return times and sources of states before these are changed."""
    return [
        _Seen(one.version, one.first_received_at, one.last_received_at, [*one.sources]) for one in several
    ]


def _stamped(state: MergerState, version: int, seen: Sequence[_Seen]) -> MergerState:
    """Give a state the times and sources of what it was made from, as far as that lives."""
    alive = [one for one in seen if one.version > state.merge.erased]
    state.version = version
    state.first_received_at = min((one.first for one in alive if one.first), default=None)
    state.last_received_at = max((one.last for one in alive if one.last), default=None)
    state.sources = sorted({source for one in alive for source in one.sources})[:MAX_SOURCES]
    return state
