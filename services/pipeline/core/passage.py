"""Has everything that was logged up to a moment passed all stages?  Pure: positions in, a decision out.

Each stage is asked in the order of the flow, and its answer fixes what the next one has to reach: the
merger's commits, then the ends of the states, then what the sink has stored, then the ends of the dead
letters, then what the sink has stored of these.  An end is that of everything written, also of what is not
committed yet: the merger's offset is committed before the markers of its transaction are in every partition.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

K = TypeVar("K", str, int)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All positions, read in this very order.  An offset is the next record's; what is not named is at 0.

    By partition: `logged`, the end of the events; `merged`, what the merger has committed; `states`, the end
    of the states; `stored_states` and `stored_events`, what the sink has stored.  By topic: `letters`, the
    ends of the dead letters, and `stored_letters`.
    """

    logged: Mapping[int, int]
    merged: Mapping[int, int]
    states: Mapping[int, int]
    stored_states: Mapping[int, int]
    stored_events: Mapping[int, int]
    letters: Mapping[str, int]
    stored_letters: Mapping[str, int]


@dataclass(frozen=True)
class Passage:
    """How far all stages are known to be past `target`, the end of the events at some moment."""

    target: Mapping[int, int]
    state_ends: Mapping[int, int] | None = None
    letter_ends: Mapping[str, int] | None = None
    is_over: bool = False

    def after(self, seen: Seen) -> "Passage":
        """Return what is known after another look."""
        if self.is_over:
            return self
        state_ends, letter_ends = self.state_ends, self.letter_ends
        if state_ends is None and _reach(seen.merged, self.target):
            state_ends = seen.states
        if letter_ends is None and state_ends is not None and self._stored(seen, state_ends):
            letter_ends = seen.letters
        is_over = letter_ends is not None and _reach(seen.stored_letters, letter_ends)
        return replace(self, state_ends=state_ends, letter_ends=letter_ends, is_over=is_over)

    def _stored(self, seen: Seen, state_ends: Mapping[int, int]) -> bool:
        return _reach(seen.stored_states, state_ends) and _reach(seen.stored_events, self.target)

    @property
    def waits_for(self) -> str:
        """Who has to get on: `merger`, `sink`, or nobody."""
        if self.is_over:
            return ""
        return "merger" if self.state_ends is None else "sink"


def _reach(positions: Mapping[K, int], ends: Mapping[K, int]) -> bool:
    return all(positions.get(place, 0) >= end for place, end in ends.items())
