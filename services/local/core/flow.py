"""How far each stage of the pipeline has got, and how fast it goes.  Pure: positions in, figures out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Offsets = Mapping[tuple[str, int], int]
"""An offset for each partition, which is a topic and a number."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A consumer group: how many records lie before it (`lag`), and its offsets' sum (`done`)."""

    name: str
    lag: int
    done: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The pipeline at one moment.  `events`: all that the log ever took.  None: not known."""

    at: float
    events: int = 0
    stages: tuple[Stage, ...] = ()
    rows: int | None = None
    dead_letters: int | None = None

    def stage(self, name: str) -> Stage | None:
        """Return the stage of that name, if it is known."""
        return next((stage for stage in self.stages if stage.name == name), None)


@dataclass(frozen=True, slots=True)
class Rates:
    """Records a second between two moments: taken by the log, and done by each stage."""

    events: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


def stage(name: str, *, begins: Offsets, ends: Offsets, committed: Offsets) -> Stage:
    """Return how far a consumer group is; a partition without a commit is read from its beginning."""
    positions = {place: committed.get(place, begins.get(place, 0)) for place in ends}
    lag = sum(max(0, end - positions[place]) for place, end in ends.items())
    return Stage(name, lag, sum(positions.values()))


def rates(before: Flow | None, after: Flow) -> Rates:
    """Return the rates between two moments; zero for what is new or went backwards (other topics)."""
    if before is None or after.at <= before.at:
        return Rates()
    seconds = after.at - before.at
    earlier = {stage.name: stage.done for stage in before.stages}
    return Rates(
        events=max(0.0, (after.events - before.events) / seconds),
        stages={
            stage.name: max(0.0, (stage.done - earlier.get(stage.name, stage.done)) / seconds)
            for stage in after.stages
        },
    )
