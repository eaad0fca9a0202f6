"""Admission: which records reach the merge, decided in log order.

Pure.  A record is consumed at most once, whatever is read again:

1. A record at or below what the row has read was read before: nothing happens, no dead letter either.
2. An event id among the row's recent ones is a repeat: only the row's `version` rises.  If it says
   something else than the first did, it is a conflict, and a dead letter too.
3. (A bad replay header, and a key that disagrees with the body, are poison: see `events`.)
4. An event that would take the row past its limits is too large, and a dead letter.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self

import msgspec

from schemas.deadletters import Reason
from schemas.events import Op
from schemas.limits import MAX_ROW_BYTES, MAX_ROW_KEYS
from services.merger.core import state as states
from services.merger.core.events import Event, digest
from services.merger.core.merge import merge, merge_newest
from services.merger.core.state import NEVER, State, request_of

_SHORTEST_FIELD_BYTES = len('"a":1,')


class Outcome(StrEnum):
    """What became of a record."""

    MERGED = "merged"
    READ_BEFORE = "read_before"
    REPEAT = "repeat"
    ERASED = "erased"
    """At or below the row's `erased`: ignored."""
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    POISON = "poison"
    CRASHED = "crashed"
    DAMAGED = "damaged_state"
    """The row that it belongs to is damaged, and waits to be mended."""


REASONS = {Outcome.CONFLICT: Reason.IDEMPOTENCY_CONFLICT, Outcome.TOO_LARGE: Reason.ROW_TOO_LARGE}
"""Why an event that was refused here is a dead letter."""


_MERGE, _MERGED = Op.MERGE, Outcome.MERGED  # members of an enum are found slowly
_NONE = states.blank("", "")


@dataclass(frozen=True)
class Limits:
    """What one row may hold: keys of both parts, cleared ones included, and bytes of keys and values."""

    keys: int = MAX_ROW_KEYS
    bytes: int = MAX_ROW_BYTES

    @cached_property
    def carefree(self) -> int:
        """Bytes of fields that cannot be too many keys, nor too many bytes."""
        return min(self.bytes, self.keys * _SHORTEST_FIELD_BYTES)


class Row(msgspec.Struct, gc=False):
    """A state while a batch is folded.  A row that `is_new` has a state of its own after `begin`.

    `bound` is at least the bytes of all its keys and values, `timestamp` the append time of its newest
    event in this batch, in milliseconds.
    """

    state: State
    bound: int = 0
    timestamp: int = 0
    changed: bool = False

    @classmethod
    def new(cls) -> Self:
        """Return the row of a key of which nothing was read before."""
        return cls(_NONE)

    @property
    def is_new(self) -> bool:
        """Tell whether nothing of this key was read yet."""
        return self.state is _NONE

    def begin(self, tenant: str, request_id: str) -> None:
        """Make it the row of a request of which nothing was read before."""
        self.state = states.blank(tenant, request_id)

    def has_read(self, own: int) -> bool:
        """Tell whether the record whose own version is `own` was read before."""
        return own <= self.state.version or own <= self.state.merge.read


LIMITS = Limits()


def consume(row: Row, event: Event, version: int, own: int, size: int, limits: Limits = LIMITS) -> Outcome:
    """Admit an event of `size` bytes and merge it into its row, or refuse it.

    `own` is the version of the record that carries the event, `version` the one at which it counts;
    they differ for a replay.
    """
    if _is_plain(row.state, event, version, own) and row.bound + size <= limits.carefree:
        row.bound += size
        merge_newest(row.state, event, version)
        row.state.merge.read = NEVER
        row.changed = True
        return _MERGED
    outcome = _admit(row, event, version, size, limits)
    state = row.state
    if state.version != state.merge.erased:
        state.merge.read = own if own > state.version else NEVER
        row.changed = True
    elif outcome is _MERGED:
        row.changed = True
    return outcome


def _is_plain(state: State, event: Event, version: int, own: int) -> bool:
    """Tell whether an event is no replay, no repeat, newer than its row and takes nothing back."""
    return (
        version == own > state.version
        and event.op is _MERGE
        and event.idempotent is None
        and not state.merge.recent
    )


def _admit(row: Row, event: Event, version: int, size: int, limits: Limits) -> Outcome:
    state = row.state
    if version <= state.merge.erased:
        return Outcome.ERASED
    if state.merge.recent and (first := _first(state, str(event.event_id))):
        state.version = max(state.version, version)
        return Outcome.REPEAT if first == digest(event) else Outcome.CONFLICT
    row.bound += size
    if row.bound > limits.carefree and not _surely_fits(row, event, limits):
        return _try(row, event, version, size, limits)
    merge(state, event, version)
    return Outcome.MERGED


def _first(state: State, event_id: str) -> str | None:
    """Return the hash of what the event said when it was merged, if the row remembers it."""
    return next((known[2] for known in state.merge.recent if known[0] == event_id), None)


def _surely_fits(row: Row, event: Event, limits: Limits) -> bool:
    fresh = len(event.data or ()) + len(event.request or ())
    return event.op is not Op.MERGE or (row.bound <= limits.bytes and _keys(row.state) + fresh <= limits.keys)


def _try(row: Row, event: Event, version: int, size: int, limits: Limits) -> Outcome:
    """Merge into a copy, and keep it if it is within the limits.  Slow, and only for rows near them."""
    before = states.encode(row.state)
    trial = states.decode(before)
    merge(trial, event, version)
    row.bound = len(before)
    if _keys(trial) > limits.keys or weight(trial) > limits.bytes:
        return Outcome.TOO_LARGE
    row.state = trial
    row.bound += size
    return Outcome.MERGED


def _keys(state: State) -> int:
    private = state.merge
    cleared = len(private.data.cleared) + len(private.request.cleared)
    return len(state.data) + len(request_of(state)) + cleared


def weight(state: State) -> int:
    """Return the bytes of all keys, cleared ones included, and of all values as JSON text."""
    private = state.merge
    keys = [*state.data, *request_of(state), *private.data.cleared, *private.request.cleared]
    values = [*state.data.values(), *request_of(state).values()]
    return sum(len(key.encode()) for key in keys) + sum(map(len, values))
