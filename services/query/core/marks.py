"""The watermark: the moment before which everything acknowledged can be queried.  Pure.

Each look at the pipeline leaves a mark on every partition: where its events ended at that moment.  A mark
is passed once the merger has committed up to there, and the sink has stored the states up to where they
ended after that.  Then everything acknowledged before the mark's moment is in the rows: no clock but the
one that looked takes part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.pipeline.core.barrier import Snapshot

MOST_MARKS = 64
"""Marks that wait on one partition at once.  When there are more, every second one is left out."""


@dataclass(frozen=True)
class Mark:
    """Where the events of a partition ended at a moment; `state_end` None until the merger is there."""

    at: datetime
    offset: int
    state_end: int | None = None


@dataclass(frozen=True)
class Marks:
    """The marks of all partitions.  `passed`: the newest one of each that was passed."""

    waiting: Mapping[int, Sequence[Mark]] = field(default_factory=dict)
    passed: Mapping[int, Mark] = field(default_factory=dict)

    def after(self, seen: Snapshot) -> "Marks":
        """Return the marks after another look."""
        waiting, passed = {}, dict(self.passed)
        for partition, end in seen.logged.items():
            marks = [*self.waiting.get(partition, ()), Mark(seen.at, end)]
            marks = [_bounded_by(mark, seen, partition) for mark in marks]
            left = [mark for mark in marks if not _is_passed(mark, seen, partition)]
            if len(left) < len(marks):
                newest = max(
                    (mark for mark in marks if _is_passed(mark, seen, partition)), key=lambda one: one.at
                )
                passed[partition] = newest
                left = [mark for mark in left if mark.at > newest.at]
            waiting[partition] = _thinned(left)
        return Marks(waiting, passed)

    @property
    def moment(self) -> datetime | None:
        """Everything acknowledged before this moment can be queried; None: not known yet."""
        if not self.waiting or any(partition not in self.passed for partition in self.waiting):
            return None
        return min(self.passed[partition].at for partition in self.waiting)


def _bounded_by(mark: Mark, seen: Snapshot, partition: int) -> Mark:
    if mark.state_end is None and seen.merged.get(partition, 0) >= mark.offset:
        return replace(mark, state_end=seen.states.get(partition, 0))
    return mark


def _is_passed(mark: Mark, seen: Snapshot, partition: int) -> bool:
    return mark.state_end is not None and seen.stored_states.get(partition, 0) >= mark.state_end


def _thinned(marks: Sequence[Mark]) -> Sequence[Mark]:
    """Return the marks, every second one where they are too many: the oldest and the newest stay."""
    return marks if len(marks) <= MOST_MARKS else [*marks[:-1:2], marks[-1]]
