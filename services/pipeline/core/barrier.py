"""Decides whether an event, or all events up to a moment, have passed every stage.

A barrier follows the stages in the order of the flow; each answer fixes what the next one has to reach:

1. the merger's committed offset is past the event: its row and its dead letter are in Kafka;
2. the end of the state partition, read after that: the row is below it;
3. the sink's stored position reaches that end; its position on the events, read beside, is past the event;
4. the ends of the dead-letter topics, read after that: dead letters of merger and sink are below them;
5. the sink's position on the dead letters reaches these ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from schemas.identity import OFFSET_BITS, partition_of
from services.pipeline.core.snapshot import PipelineSnapshot

OFFSETS = 1 << OFFSET_BITS
"""Past every offset of a generation."""

K = TypeVar("K", str, int)


@dataclass(frozen=True)
class EventBarrier:
    """How far the pipeline is known to be past the event with this key and offset."""

    key: bytes
    offset: int
    consumed: int = 0
    """The merger's committed offset in the latest snapshot."""
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
    def is_decided(self) -> bool:
        """Whether the tables have the outcome of the event."""
        return self.states_stored and self.events_stored and self.letters_stored

    def after(self, snapshot: PipelineSnapshot) -> "EventBarrier":
        """Return the barrier after another snapshot; a stage that was passed stays passed."""
        if snapshot.generation > self.generation:
            return _superseded(self)
        partition = partition_of(self.key, max(1, len(snapshot.logged)))
        known = replace(
            self,
            is_beyond=self.offset >= snapshot.logged.get(partition, 0),
            consumed=max(self.consumed, snapshot.merged.get(partition, 0)),
            events_stored=self.events_stored or snapshot.stored_events.get(partition, 0) > self.offset,
        )
        if known.state_end is None and known.consumed > self.offset:
            known = replace(known, state_end=snapshot.states.get(partition, 0))
        if known.state_end is None:
            return known
        return _with_stored(known, snapshot, partition, known.state_end)

    @property
    def waits_for(self) -> str:
        """The stage that the event has not passed yet, as a clause; empty when it has passed all."""
        if self.state_end is None:
            return "the merger has not come to it yet"
        if not self.states_stored:
            return "the sink has not stored its row yet"
        if not self.events_stored:
            return "the sink has not stored its event yet"
        return "" if self.letters_stored else "the sink has not stored all dead letters yet"


def _superseded(known: EventBarrier) -> EventBarrier:
    """Return the barrier as passed: a newer generation opens once all of this one is merged and stored."""
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


def _with_stored(
    known: EventBarrier, snapshot: PipelineSnapshot, partition: int, state_end: int
) -> EventBarrier:
    stored = known.states_stored or snapshot.stored_states.get(partition, 0) >= state_end
    known = replace(known, states_stored=stored)
    if known.letter_ends is None and known.states_stored:
        known = replace(known, letter_ends=snapshot.letters)
    if known.letter_ends is None:
        return known
    reached = _reach(snapshot.stored_letters, known.letter_ends)
    return replace(known, letters_stored=known.letters_stored or reached)


@dataclass(frozen=True)
class LogBarrier:
    """How far all stages are known to be past `target`, the end of the events at some moment."""

    target: Mapping[int, int]
    state_ends: Mapping[int, int] | None = None
    letter_ends: Mapping[str, int] | None = None
    is_passed: bool = False

    def after(self, snapshot: PipelineSnapshot) -> "LogBarrier":
        """Return the barrier after another snapshot; a stage that was passed stays passed."""
        if self.is_passed:
            return self
        state_ends, letter_ends = self.state_ends, self.letter_ends
        if state_ends is None and _reach(snapshot.merged, self.target):
            state_ends = snapshot.states
        if letter_ends is None and state_ends is not None and self._stored(snapshot, state_ends):
            letter_ends = snapshot.letters
        is_passed = letter_ends is not None and _reach(snapshot.stored_letters, letter_ends)
        return replace(self, state_ends=state_ends, letter_ends=letter_ends, is_passed=is_passed)

    def _stored(self, snapshot: PipelineSnapshot, state_ends: Mapping[int, int]) -> bool:
        return _reach(snapshot.stored_states, state_ends) and _reach(snapshot.stored_events, self.target)

    @property
    def waits_for(self) -> str:
        """The service that is behind: `merger` or `sink`; empty when all have passed."""
        if self.is_passed:
            return ""
        return "merger" if self.state_ends is None else "sink"


def _reach(positions: Mapping[K, int], ends: Mapping[K, int]) -> bool:
    return all(positions.get(key, 0) >= end for key, end in ends.items())
