"""The watermark: the moment before which everything acknowledged can be queried, and the lag of each stage.

Each snapshot leaves a mark on every partition: where its events ended at that moment.  A mark is passed once
the merger has committed up to it, and the sink has stored the states up to where they ended after that.
Then everything acknowledged before the mark's moment is in the rows.  No clock takes part except that of the
process that read the snapshots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from schemas.topics import Topology
from services.pipeline.core.snapshot import PipelineSnapshot

MOST_MARKS = 64
"""Marks that wait on one partition at once.  When there are more, every second one is dropped."""


@dataclass(frozen=True)
class EndMark:
    """Where the events of a partition ended at a moment; `state_end` None until the merger is past it."""

    at: datetime
    offset: int
    state_end: int | None = None


@dataclass(frozen=True)
class QueryableWatermark:
    """The marks of all partitions.  `passed`: the newest passed one of each."""

    waiting: Mapping[int, Sequence[EndMark]] = field(default_factory=dict)
    passed: Mapping[int, EndMark] = field(default_factory=dict)

    def after(self, snapshot: PipelineSnapshot) -> "QueryableWatermark":
        """Return the watermark after another snapshot."""
        waiting, passed = {}, dict(self.passed)
        for partition, end in snapshot.logged.items():
            marks = [*self.waiting.get(partition, ()), EndMark(snapshot.at, end)]
            marks = [_bounded_by(mark, snapshot, partition) for mark in marks]
            left = [mark for mark in marks if not _is_passed(mark, snapshot, partition)]
            if len(left) < len(marks):
                newest = max(
                    (mark for mark in marks if _is_passed(mark, snapshot, partition)),
                    key=lambda mark: mark.at,
                )
                passed[partition] = newest
                left = [mark for mark in left if mark.at > newest.at]
            waiting[partition] = _thinned(left)
        return QueryableWatermark(waiting, passed)

    @property
    def moment(self) -> datetime | None:
        """Everything acknowledged before this moment can be queried; None: not known yet."""
        if not self.waiting or any(partition not in self.passed for partition in self.waiting):
            return None
        return min(self.passed[partition].at for partition in self.waiting)


def _bounded_by(mark: EndMark, snapshot: PipelineSnapshot, partition: int) -> EndMark:
    if mark.state_end is None and snapshot.merged.get(partition, 0) >= mark.offset:
        return replace(mark, state_end=snapshot.states.get(partition, 0))
    return mark


def _is_passed(mark: EndMark, snapshot: PipelineSnapshot, partition: int) -> bool:
    return mark.state_end is not None and snapshot.stored_states.get(partition, 0) >= mark.state_end


def _thinned(marks: Sequence[EndMark]) -> Sequence[EndMark]:
    """Return the marks, every second one if there are too many: the oldest and the newest stay."""
    return marks if len(marks) <= MOST_MARKS else [*marks[:-1:2], marks[-1]]


@dataclass(frozen=True)
class StageStatus:
    """A consumer group: `lag` in records; `consumers`: how many run, None if not read."""

    name: str
    group: str
    lag: int
    consumers: int | None


@dataclass(frozen=True)
class PartitionStatus:
    """A partition: the offsets of the next record of events and states, for each stage.

    `queryable_below`: every event below this offset can be queried; None: not known yet.
    """

    number: int
    logged: int
    merged: int
    states: int
    stored_states: int
    stored_events: int
    queryable_below: int | None


@dataclass(frozen=True)
class PipelineStatus:
    """The whole pipeline at one moment.

    `queryable_before`: everything acknowledged before this moment can be queried; None: not known yet.
    `asked_at`: when the status was requested.
    """

    asked_at: datetime
    generation: int
    queryable_before: datetime | None
    stages: tuple[StageStatus, ...]
    partitions: tuple[PartitionStatus, ...]

    def behind_seconds(self, now: datetime) -> float | None:
        """Return how far the rows are behind what was acknowledged; None: not known yet."""
        if self.queryable_before is None:
            return None
        return max(0.0, (now - self.queryable_before).total_seconds())

    @property
    def reached(self) -> bool:
        """Whether everything acknowledged before the request can be queried."""
        return self.queryable_before is not None and self.queryable_before >= self.asked_at

    @property
    def lag(self) -> int:
        """The lag of all stages together, in records."""
        return sum(stage.lag for stage in self.stages)


def pipeline_status(
    snapshot: PipelineSnapshot,
    watermark: QueryableWatermark,
    topology: Topology,
    *,
    asked_at: datetime,
    consumers: Mapping[str, int] | None = None,
) -> PipelineStatus:
    """Return the status of the pipeline.  `consumers` by group."""
    lags = snapshot.lags()
    return PipelineStatus(
        asked_at=asked_at,
        generation=topology.generation,
        queryable_before=watermark.moment,
        stages=tuple(
            StageStatus(
                stage.name, stage.group, lags[stage.name], consumers.get(stage.group) if consumers else None
            )
            for stage in topology.stages
        ),
        partitions=tuple(_partition(number, snapshot, watermark) for number in sorted(snapshot.logged)),
    )


def _partition(number: int, snapshot: PipelineSnapshot, watermark: QueryableWatermark) -> PartitionStatus:
    passed = watermark.passed.get(number)
    return PartitionStatus(
        number,
        snapshot.logged[number],
        snapshot.merged.get(number, 0),
        snapshot.states.get(number, 0),
        snapshot.stored_states.get(number, 0),
        snapshot.stored_events.get(number, 0),
        None if passed is None else passed.offset,
    )
