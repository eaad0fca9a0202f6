"""Computes the lag of each stage of the pipeline, and its rate between two moments."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Offsets = Mapping[tuple[str, int], int]
"""An offset for each partition, which is a pair of topic and number."""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A consumer group: its lag in records, and the sum of its offsets (`done`)."""

    name: str
    lag: int
    done: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The pipeline at one moment.  `events`: records ever written to the log.  None: unknown."""

    at: float
    events: int = 0
    stages: tuple[StageProgress, ...] = ()
    rows: int | None = None
    dead_letters: int | None = None

    def stage(self, name: str) -> StageProgress | None:
        """Return a stage by its name; None if it is unknown."""
        return next((stage for stage in self.stages if stage.name == name), None)


@dataclass(frozen=True, slots=True)
class FlowRates:
    """Records a second between two moments: written to the log, and consumed by each stage."""

    events: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


def stage(name: str, *, begins: Offsets, ends: Offsets, committed: Offsets) -> StageProgress:
    """Return a consumer group's progress; it reads partitions without a commit from the beginning."""
    positions = {partition: committed.get(partition, begins.get(partition, 0)) for partition in ends}
    lag = sum(max(0, end - positions[partition]) for partition, end in ends.items())
    return StageProgress(name, lag, sum(positions.values()))


def rates(before: Flow | None, after: Flow) -> FlowRates:
    """Return the rates between two moments; zero for new stages and where offsets went back."""
    if before is None or after.at <= before.at:
        return FlowRates()
    seconds = after.at - before.at
    earlier = {stage.name: stage.done for stage in before.stages}
    return FlowRates(
        events=max(0.0, (after.events - before.events) / seconds),
        stages={
            stage.name: max(0.0, (stage.done - earlier.get(stage.name, stage.done)) / seconds)
            for stage in after.stages
        },
    )
