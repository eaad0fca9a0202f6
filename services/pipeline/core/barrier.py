"""Has everything up to an event passed all stages?  Pure: positions in, a decision out.

The barrier asks each stage in the order of the flow, and fixes what the next one has to reach:

1. the merger's committed offset is past the event: its row and its dead letter are in Kafka;
2. the end of the state partition, read after that: the row is below it;
3. the sink's stored position reaches that end; its position on the events, read beside, is past the event;
4. the ends of the dead-letter topics, read after that: whatever merger and sink gave up is below them;
5. the sink's position on the dead letters reaches these ends.

An end is that of everything written (the high watermark), not of what is committed: Kafka commits the
merger's offset before the marker that commits the rows of the same transaction is in every partition, so
that the committed end of the state may still lie before the row for a moment.  The sink reads only what is
committed, so a stored position at the end of everything written has the row behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.identity import OFFSET_BITS, partition_of

OFFSETS = 1 << OFFSET_BITS
"""Past every offset of a generation."""


@dataclass(frozen=True)
class Snapshot:
    """All positions, read in this very order.  An offset is the next record's; what is not named is at 0.

    `at` is when the reading began (UTC).  By partition: `logged`, the end of the events; `merged`, what the
    merger has committed; `states`, the end of the states; `stored_states` and `stored_events`, what the sink
    has stored.  By topic: `letters`, the ends of the dead letters, and `stored_letters`.
    """

    at: datetime
    logged: Mapping[int, int]
    merged: Mapping[int, int]
    states: Mapping[int, int]
    stored_states: Mapping[int, int]
    stored_events: Mapping[int, int]
    letters: Mapping[str, int]
    stored_letters: Mapping[str, int]
    generation: int = 0
    """The generation of the topics that all of these are of."""


@dataclass(frozen=True)
class Barrier:
    """How far the pipeline is known to be past the event with this key and offset."""

    key: bytes
    offset: int
    consumed: int = 0
    """The merger's committed offset when it was last seen."""
    state_end: int | None = None
    """What the sink's position on the states has to reach; None while the merger is not past the event."""
    states_stored: bool = False
    events_stored: bool = False
    letter_ends: Mapping[str, int] | None = None
    letters_stored: bool = False
    is_beyond: bool = False
    """The log has no such offset yet."""
    generation: int = 0
    """The generation of the topics that the event is in."""

    @property
    def is_reached(self) -> bool:
        """Whether the row has everything up to the event."""
        return self.states_stored

    @property
    def is_told(self) -> bool:
        """Whether what became of the event can be told from the tables."""
        return self.states_stored and self.events_stored and self.letters_stored

    def after(self, seen: Snapshot) -> "Barrier":
        """Return what is known after another look; what was passed once stays so."""
        if seen.generation > self.generation:
            return _moved_on(self)
        partition = partition_of(self.key, max(1, len(seen.logged)))
        known = replace(
            self,
            is_beyond=self.offset >= seen.logged.get(partition, 0),
            consumed=max(self.consumed, seen.merged.get(partition, 0)),
            events_stored=self.events_stored or seen.stored_events.get(partition, 0) > self.offset,
        )
        if known.state_end is None and known.consumed > self.offset:
            known = replace(known, state_end=seen.states.get(partition, 0))
        return known if known.state_end is None else _with_stored(known, seen, partition, known.state_end)

    @property
    def waits_for(self) -> str:
        """What the event has not passed yet, in words; empty when it has passed everything."""
        if self.state_end is None:
            return "the merger has not come to it yet"
        if not self.states_stored:
            return "the sink has not stored its row yet"
        if not self.events_stored:
            return "the sink has not stored its event yet"
        return "" if self.letters_stored else "the sink has not stored all dead letters yet"


def _moved_on(known: Barrier) -> Barrier:
    """Return what a newer generation says: it was opened once all of this one was merged and stored."""
    return replace(
        known,
        consumed=OFFSETS,
        state_end=0,
        states_stored=True,
        events_stored=True,
        letter_ends={},
        letters_stored=True,
        is_beyond=False,
    )


def _with_stored(known: Barrier, seen: Snapshot, partition: int, state_end: int) -> Barrier:
    stored = known.states_stored or seen.stored_states.get(partition, 0) >= state_end
    known = replace(known, states_stored=stored)
    if known.letter_ends is None and known.states_stored:
        known = replace(known, letter_ends=seen.letters)
    if known.letter_ends is None:
        return known
    reached = all(seen.stored_letters.get(topic, 0) >= end for topic, end in known.letter_ends.items())
    return replace(known, letters_stored=known.letters_stored or reached)
