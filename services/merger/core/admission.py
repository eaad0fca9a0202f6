"""Admission: which records reach the merge, decided in log order.

A record is consumed at most once, however often the log is read:

1. A record at or below what the row has read was read before: it is skipped, without a dead letter.
2. An event id among the row's recent ones is a repeat: only the row's `version` rises.  If its body
   differs from the first one, it is a conflict, and a dead letter too.
3. (A bad replay header, and a key that disagrees with the body, are poison: see `events`.)
4. An event with which the row would exceed its limits is too large, and a dead letter.
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
from services.merger.core.events import DecodedEvent, digest
from services.merger.core.merge import merge, merge_newest
from services.merger.core.state import NEVER, MergerState, request_of

_SHORTEST_FIELD_BYTES = len('"a":1,')


class Outcome(StrEnum):
    """How a record was handled."""

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
    """The state of its request is damaged, and has to be rebuilt."""


REASONS = {Outcome.CONFLICT: Reason.IDEMPOTENCY_CONFLICT, Outcome.TOO_LARGE: Reason.ROW_TOO_LARGE}
"""The reason in the dead letter of an event that was refused here."""


_MERGE, _MERGED = Op.MERGE, Outcome.MERGED  # looking up members of an enum is slow
_NONE = states.blank("", "")


@dataclass(frozen=True)
class RowLimits:
    """What one row may hold: keys of both parts, cleared ones included, and bytes of keys and values."""

    keys: int = MAX_ROW_KEYS
    bytes: int = MAX_ROW_BYTES

    @cached_property
    def always_within(self) -> int:
        """A size in bytes that can exceed neither limit, so that nothing has to be counted below it."""
        return min(self.bytes, self.keys * _SHORTEST_FIELD_BYTES)


class WorkingRow(msgspec.Struct, gc=False):
    """A state while a batch is folded.  A row that `is_new` has a state of its own after `begin`.

    `bound` is at least the bytes of all its keys and values, `timestamp` the append time of its newest
    event in this batch, in milliseconds.
    """

    state: MergerState
    bound: int = 0
    timestamp: int = 0
    changed: bool = False

    @classmethod
    def new(cls) -> Self:
        """Return the row of a key without a state."""
        return cls(_NONE)

    @property
    def is_new(self) -> bool:
        """Return whether nothing of this key was read yet."""
        return self.state is _NONE

    def begin(self, tenant: str, request_id: str) -> None:
        """Start the state of a request without one."""
        self.state = states.blank(tenant, request_id)

    def has_read(self, own: int) -> bool:
        """Return whether the record at version `own` was read before."""
        return own <= self.state.version or own <= self.state.merge.read


LIMITS = RowLimits()


def consume(
    row: WorkingRow, event: DecodedEvent, version: int, own: int, size: int, limits: RowLimits = LIMITS
) -> Outcome:
    """Admit an event of `size` bytes and merge it into its row, or refuse it.

    `own` is the version of the record that holds the event, `version` the one at which it counts;
    they differ for a replay.
    """
    if _is_plain(row.state, event, version, own) and row.bound + size <= limits.always_within:
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


def _is_plain(state: MergerState, event: DecodedEvent, version: int, own: int) -> bool:
    """Return whether an event is a merge newer than its row, and neither a replay nor possibly a repeat."""
    return (
        version == own > state.version
        and event.op is _MERGE
        and event.idempotent is None
        and not state.merge.recent
    )


def _admit(row: WorkingRow, event: DecodedEvent, version: int, size: int, limits: RowLimits) -> Outcome:
    state = row.state
    if version <= state.merge.erased:
        return Outcome.ERASED
    if state.merge.recent and (first := _first(state, str(event.event_id))):
        state.version = max(state.version, version)
        return Outcome.REPEAT if first == digest(event) else Outcome.CONFLICT
    row.bound += size
    if row.bound > limits.always_within and not _surely_fits(row, event, limits):
        return _try(row, event, version, size, limits)
    merge(state, event, version)
    return Outcome.MERGED


def _first(state: MergerState, event_id: str) -> str | None:
    """Return the body's hash of the event as it was merged, if it is among the row's recent ones."""
    return next((known[2] for known in state.merge.recent if known[0] == event_id), None)


def _surely_fits(row: WorkingRow, event: DecodedEvent, limits: RowLimits) -> bool:
    fresh = len(event.data or ()) + len(event.request or ())
    return event.op is not Op.MERGE or (row.bound <= limits.bytes and _keys(row.state) + fresh <= limits.keys)


def _try(row: WorkingRow, event: DecodedEvent, version: int, size: int, limits: RowLimits) -> Outcome:
    """Merge into a copy, and keep it if it is within the limits.  Slow, only for rows near the limits."""
    before = states.encode(row.state)
    trial = states.decode(before)
    merge(trial, event, version)
    row.bound = len(before)
    if _keys(trial) > limits.keys or weight(trial) > limits.bytes:
        return Outcome.TOO_LARGE
    row.state = trial
    row.bound += size
    return Outcome.MERGED


def _keys(state: MergerState) -> int:
    private = state.merge
    cleared = len(private.data.cleared) + len(private.request.cleared)
    return len(state.data) + len(request_of(state)) + cleared


def weight(state: MergerState) -> int:
    """Return the bytes of all keys, cleared ones included, and of all values as JSON text."""
    private = state.merge
    keys = [*state.data, *request_of(state), *private.data.cleared, *private.request.cleared]
    values = [*state.data.values(), *request_of(state).values()]
    return sum(len(key.encode()) for key in keys) + sum(map(len, values))
