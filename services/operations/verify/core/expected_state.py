"""What the events of one key come to: the merger's own fold, and its law.  Pure.

Where the whole history is known, the state must be what it comes to.  Where some of it is gone, at least each
event that is left must be in the state already: merging it once more changes nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from msgspec import MsgspecError

from schemas.events import Op
from schemas.identity import partition_of
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, weight
from services.merger.core.events import Poison, decode, place
from services.merger.core.fold import Source, fold
from services.merger.core.merge import merge
from services.merger.core.state import State
from services.operations.verify.core.evidence import LogEvent
from services.operations.verify.core.snapshot import Cut
from services.reconciliation.core.ranges import Place

Crashed = Collection[tuple[str, int, int]]
"""Topic, partition and offset of events that were given up without a look at their body."""


def at_home(events: Sequence[LogEvent], cut: Cut) -> list[LogEvent]:
    """Return the events in the partition of their key: others were given up."""
    return [one for one in events if one.partition == partition_of(one.key, cut.partitions(one.generation))]


def candidates(events: Sequence[LogEvent], cut: Cut, crashed: Crashed) -> Iterator[bytes | None]:
    """Yield every state that the merger may have written last, from the one that it promised on."""
    promised = [one for one in events if one.offset < cut.merged_upto(Place(one.generation, one.partition))]
    row: bytes | None = None
    for several in _by_generation(promised):
        row = _folded(several, row, cut, crashed)
    yield row
    done = set(map(id, promised))
    for one in events:
        if id(one) not in done:
            row = _folded([one], row, cut, crashed)
            yield row


def _by_generation(events: Sequence[LogEvent]) -> Iterator[list[LogEvent]]:
    for generation in sorted({one.generation for one in events}):
        yield [one for one in events if one.generation == generation]


def _folded(events: list[LogEvent], row: bytes | None, cut: Cut, crashed: Crashed) -> bytes | None:
    first = events[0]
    source = Source(first.topic, first.generation, first.partition, cut.partitions(first.generation))
    given_up = frozenset(one.offset for one in events if (one.topic, one.partition, one.offset) in crashed)
    rows = fold(events, {first.key: row}, source, given_up).rows
    return rows[first.key].value if first.key in rows else row


def decoded(value: bytes) -> State | None:
    """Return a state, None for bytes that are none."""
    with suppress(MsgspecError, ValueError):
        return states.decode(value)
    return None


def is_same(state: State, candidate: bytes, *, rebuilt: bool) -> bool:
    """Tell whether a state is what events came to.

    Rows of the table do not say whether an event had no fields or empty ones, so hashes of bodies are left
    out where some were made again from there.
    """
    other = states.decode(candidate)
    if rebuilt:
        return _plain(state) == _plain(other)
    return states.encode(state) == states.encode(other)


def _plain(state: State) -> bytes:
    copy = states.decode(states.encode(state))
    copy.merge.recent = [(event_id, version, "") for event_id, version, _ in copy.merge.recent]
    copy.merge.read = states.NEVER
    return states.encode(copy)


def has_read(state: State, event: LogEvent) -> bool:
    """Tell whether the merger had read an event when it wrote a state."""
    return event.own <= state.version or event.own <= state.merge.read


def is_event(event: LogEvent) -> bool:
    """Tell whether a record is something that can be merged."""
    try:
        place(event.headers, event.own)
        decode(event.key, event.value or b"")
    except Poison:
        return False
    return True


def erases(event: LogEvent) -> int | None:
    """Return up to which version an event erases, None if it erases nothing."""
    try:
        version = place(event.headers, event.own)
        return version if decode(event.key, event.value or b"").op is Op.ERASE else None
    except Poison:
        return None


def absorbs(state: State, event: LogEvent) -> bool:
    """Tell whether merging an event into a state changes nothing; True where nobody can tell.

    An idempotent event may have been a repeat, and one for a large row too large.
    """
    try:
        version = place(event.headers, event.own)
        body = decode(event.key, event.value or b"")
    except Poison:
        return True
    if body.idempotent or weight(state) + len(event.value or b"") > LIMITS.bytes:
        return True
    before = states.encode(state)
    trial = states.decode(before)
    merge(trial, body, version)
    return states.encode(trial) == before
