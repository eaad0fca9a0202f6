"""How a record of the state topic compares with the events of its request: is it to be written again?

`verify` has a comparison of its own: it runs beside live traffic, reports, and writes nothing.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import orjson
from msgspec import MsgspecError

from services.merger.core import state as states
from services.merger.core.state import NEVER, MergerState
from services.operations.audit.core.expected_state import ExpectedState, essence
from services.operations.audit.core.joined_state import joined, key_versions


class StateVerdict(Enum):
    """How a record of the state topic compares with the events."""

    SAME = "same"
    MISSING = "missing"
    """The topic has no record of the request, or a null one, which the events do not explain."""
    DAMAGED = "damaged"
    """The record is no state."""
    DIFFERS = "differs"
    INVENTED = "invented"
    """No event of the request is known, though the log would have those that it rests on."""
    LACKING = "lacking"
    """It depends on events that are not known any more, and lacks some that are: those are merged into it."""
    INCOMPLETE = "incomplete"
    """It depends on events that are not known any more, and has all that are: it is not changed."""
    LOST = "lost"
    """The record is no state, and no event is known to make one from."""


WRITTEN = frozenset(
    {
        StateVerdict.MISSING,
        StateVerdict.DAMAGED,
        StateVerdict.DIFFERS,
        StateVerdict.LACKING,
    }
)


class VersionBounds(NamedTuple):
    """Versions: what was erased before `start` is forgotten; from `end` on nothing can have been merged."""

    start: int
    end: int


def judge(  # noqa: PLR0911 (a table of verdicts)
    found: bytes | None,
    should: ExpectedState | None,
    known: Iterable[int],
    erased: int,
    bounds: VersionBounds,
) -> StateVerdict:
    """Compare a record with the state of the events; `known` are the versions of the request's events."""
    if found is None:
        return (
            StateVerdict.SAME if should is None or _forgotten(should.value, bounds) else StateVerdict.MISSING
        )
    try:
        has = states.decode(found)
    except MsgspecError:
        return StateVerdict.DAMAGED if should is not None else StateVerdict.LOST
    if should is None:
        return StateVerdict.INCOMPLETE
    expected = states.decode(should.value)
    if not _are_of_one(has, expected):
        return StateVerdict.DAMAGED
    if essence(has) == essence(expected):
        return StateVerdict.SAME
    versions = set(known)
    explained = all(
        version in versions or version <= erased or version >= bounds.end for version in _versions(has)
    )
    if explained and not _has_more(has, expected, bounds):
        return StateVerdict.DIFFERS
    return StateVerdict.INCOMPLETE if is_like(found, joined(found, should.value)) else StateVerdict.LACKING


def _has_more(has: MergerState, expected: MergerState, bounds: VersionBounds) -> bool:
    """Return whether a state has a key from an event that is not known.

    Its version may be that of a known event, which does not name the key: after a log was cut short, offsets
    were given out twice.
    """
    own = expected.merge
    beneath = max(own.erased, own.retracted)
    return any(
        max(beneath, named.get(key, NEVER)) < version < bounds.end
        for part, named in zip(key_versions(has), key_versions(expected), strict=True)
        for key, version in part.items()
    )


def is_like(found: bytes, should: bytes) -> bool:
    """Return whether bytes are a state with the same content as another."""
    try:
        return essence(states.decode(found)) == essence(states.decode(should))
    except MsgspecError:
        return False


def judge_alone(found: bytes, erased: int, bounds: VersionBounds) -> StateVerdict:
    """Judge a record of a request of which no event is known."""
    try:
        rests_on = list(_versions(states.decode(found)))
    except MsgspecError:
        return StateVerdict.LOST
    if any(version <= erased or version < bounds.start for version in rests_on):
        return StateVerdict.SAME if max(rests_on) <= erased else StateVerdict.INCOMPLETE
    return StateVerdict.INVENTED


def _forgotten(value: bytes, bounds: VersionBounds) -> bool:
    return states.is_erased(value) and states.decode(value).version < bounds.start


def _are_of_one(one: MergerState, other: MergerState) -> bool:
    """Return whether two states are of one request; a state of another request is damage."""
    return all(
        orjson.loads(bytes(getattr(one, name))) == orjson.loads(bytes(getattr(other, name)))
        for name in ("tenant", "request_id")
    )


def _versions(state: MergerState) -> Iterator[int]:
    own = state.merge
    named = [state.version, own.erased, own.retracted, *(known[1] for known in own.recent)]
    for part in (own.data, own.request):
        named += [part.newest, *part.older.values(), *part.cleared.values()]
    return (version for version in named if version != NEVER)
