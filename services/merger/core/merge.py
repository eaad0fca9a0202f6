"""The merge: what one event does to one row.

Each top-level key of `data` and of `request` belongs to the newest event that names it, so the result
does not depend on the order in which events arrive, nor on how often.  One version names one event.

    merge     every named key takes the event's value, unless a newer event has it; null clears a key
    retract   every key of `data` written so far is removed, for good
    erase     everything written so far is removed, for good

States are changed in place.
"""

from bisect import insort

from msgspec import Raw

from schemas.events import Op
from schemas.limits import MAX_SOURCES, RECENT_EVENTS
from services.merger.core.events import DecodedEvent, digest
from services.merger.core.state import NEVER, Fields, MergerState, Versions, request_of

_NULL = Raw(b"null")
_NULL_LENGTH = len(_NULL)


def merge(state: MergerState, event: DecodedEvent, version: int) -> None:
    """Apply an event that counts at `version`; at or below the row's `erased` it changes nothing."""
    erased, retracted = state.merge.erased, state.merge.retracted
    if version <= erased:
        return
    if event.op is Op.ERASE:
        _erase(state, version)
    else:
        put = _put_newest if version > state.version else _put
        if event.op is Op.RETRACT:
            _retract(state, max(retracted, version))
        if event.data:
            put(state.data, state.merge.data, event.data, version, max(erased, retracted))
        if event.request:
            put(request_of(state), state.merge.request, event.request, version, erased)
        _note(state, event, version)
    state.version = max(state.version, version)


def merge_newest(state: MergerState, event: DecodedEvent, version: int) -> None:
    """Apply a merge that is newer than the whole row, as nearly every event is; faster than `merge`."""
    private = state.merge
    if event.data:
        _put_newest(state.data, private.data, event.data, version, private.erased)
    if event.request:
        _put_newest(request_of(state), private.request, event.request, version, private.erased)
    _note(state, event, version)
    state.version = version


def _put_newest(values: Fields, versions: Versions, fields: Fields, version: int, floor: int) -> None:
    """Write fields that are newer than the whole row, where only other keys' versions have to be checked."""
    if _NULL_LENGTH in map(len, fields.values()) and _NULL in fields.values():  # the first half is faster
        _put(values, versions, fields, version, floor)
        return
    older, cleared, newest = versions.older, versions.cleared, versions.newest
    for key in values:
        if key in fields:
            if older:
                older.pop(key, None)
        elif key not in older:
            older[key] = newest
    if cleared:
        for key in fields:
            cleared.pop(key, None)
    values.update(fields)
    versions.newest = version


def _put(values: Fields, versions: Versions, fields: Fields, version: int, floor: int) -> None:
    """Write fields where no newer event did, if they are above `floor`."""
    known = _spread(values, versions)
    for key, value in fields.items():
        if version > known.get(key, floor):
            known[key] = version
            if value == _NULL:
                values.pop(key, None)
            else:
                values[key] = value
    _gather(values, versions, known)


def _retract(state: MergerState, version: int) -> None:
    state.merge.retracted = version
    _drop(state.data, state.merge.data, version)


def _erase(state: MergerState, version: int) -> None:
    """Remove what was written up to a version.  If newer keys remain, the row keeps its times and sources."""
    private = state.merge
    private.erased = version
    if private.retracted <= version:
        private.retracted = NEVER
    private.recent = [known for known in private.recent if known[1] > version]
    _drop(state.data, private.data, version)
    _drop(request_of(state), private.request, version)
    if state.version <= version:
        private.read = NEVER
        state.first_received_at = state.last_received_at = None
        state.sources = []


def _drop(values: Fields, versions: Versions, floor: int) -> None:
    known = {key: version for key, version in _spread(values, versions).items() if version > floor}
    for key in values.keys() - known.keys():
        del values[key]
    _gather(values, versions, known)


def _spread(values: Fields, versions: Versions) -> dict[str, int]:
    """Return the version of every key, cleared ones included."""
    newest, older = versions.newest, versions.older
    return {key: older.get(key, newest) for key in values} | versions.cleared


def _gather(values: Fields, versions: Versions, known: dict[str, int]) -> None:
    """Store the version of every key in canonical form, so that equal states have equal bytes."""
    newest = max((known[key] for key in values), default=NEVER)
    versions.newest = newest
    versions.older = {key: known[key] for key in values if known[key] < newest}
    versions.cleared = {key: version for key, version in known.items() if key not in values}


def _note(state: MergerState, event: DecodedEvent, version: int) -> None:
    """Record the event's time, its source, and its id if it is idempotent."""
    received_at = event.received_at
    if state.first_received_at is None or received_at < state.first_received_at:
        state.first_received_at = received_at
    if state.last_received_at is None or received_at > state.last_received_at:
        state.last_received_at = received_at
    if event.source not in state.sources:
        insort(state.sources, event.source)
        del state.sources[MAX_SOURCES:]
    if event.idempotent:
        _remember(state.merge.recent, (str(event.event_id), version, digest(event)))


def _remember(recent: list[tuple[str, int, str]], event: tuple[str, int, str]) -> None:
    if event not in recent:
        insort(recent, event, key=lambda known: known[1])
        del recent[:-RECENT_EVENTS]
