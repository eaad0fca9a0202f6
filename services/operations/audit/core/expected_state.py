"""The state that a request's events yield: the merger's own fold, in the order of the log.

Every comparison of states starts here: `verify` folds up to each position that the merger may have reached,
`rebuild` folds everything that was merged, and `recover` adds older states and rows to it.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from msgspec import MsgspecError

from services.merger.core import state as states
from services.merger.core.fold import SourcePartition, fold
from services.merger.core.state import NEVER, MergerState
from services.operations.audit.core.row_to_event import EventRow, LogEvent, event_of

Crashed = Collection[tuple[str, int, int]]
"""Topic, partition and offset of events that the merger dead-lettered without decoding them."""


@dataclass(frozen=True)
class FoldContext:
    """What the fold needs besides events: the partitions of each generation, and which events crashed it."""

    partitions: Mapping[int, int]
    crashed: Crashed = frozenset()


class ExpectedState(NamedTuple):
    """The bytes of a state, and the append time of its newest event in milliseconds, 0 if it has none."""

    value: bytes
    timestamp: int


def folded(
    events: Sequence[LogEvent], context: FoldContext, before: bytes | None = None
) -> ExpectedState | None:
    """Return what events of one request, in any order, make of the state `before`; None for no state."""
    key, value, timestamp = events[0].key, before, 0
    for (generation, partition), group in groupby(sorted(events, key=_own), key=_log):
        several = list(group)
        source = _source(generation, partition, context)
        crashed = frozenset(
            one.offset for one in several if (one.topic, partition, one.offset) in context.crashed
        )
        row = fold(several, {key: value}, source, crashed).rows.get(key)
        if row is not None:
            value, timestamp = row.value, max(timestamp, row.timestamp)
    return None if value is None else ExpectedState(value, timestamp)


def folded_rows(rows: Sequence[EventRow], context: FoldContext, erased: int = NEVER) -> ExpectedState | None:
    """Return the state that rows of one request yield; everything up to the version `erased` is erased."""
    first = rows[0]
    before = None if erased == NEVER else erased_state(first.tenant, first.request_id, erased)
    return folded([event_of(row) for row in rows], context, before)


def _source(generation: int, partition: int, context: FoldContext) -> SourcePartition:
    """Return where events come from; a generation that is not recorded counts as one partition."""
    count = context.partitions.get(generation)
    return (
        SourcePartition("", generation, partition, count) if count else SourcePartition("", generation, 0, 1)
    )


def _own(event: LogEvent) -> int:
    return event.own


def _log(event: LogEvent) -> tuple[int, int]:
    return event.generation, event.partition


def erased_state(tenant: str, request_id: str, version: int) -> bytes:
    """Return the state of a request of which everything up to a version is erased."""
    state = states.blank(tenant, request_id)
    state.version = state.merge.erased = version
    return states.encode(state)


def decoded(value: bytes) -> MergerState | None:
    """Return a state, None for bytes that are none."""
    with suppress(MsgspecError, ValueError):
        return states.decode(value)
    return None


def essence(state: MergerState) -> bytes:
    """Return what two states must share where events were rebuilt from rows.

    That is neither the hashes of bodies, which depend on whether a part was absent or empty, nor the last
    record that was read and refused.
    """
    own = state.merge
    kept = own.read, own.recent
    own.read, own.recent = NEVER, [(known[0], known[1], "") for known in own.recent]
    text = states.encode(state)
    own.read, own.recent = kept
    return text
