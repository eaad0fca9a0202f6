"""Where the pipeline stands: how far each stage is, and up to where everything can be queried.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from schemas.identity import version_of
from schemas.topics import Topology
from services.pipeline.core.barrier import Snapshot
from services.query.core.marks import Marks


@dataclass(frozen=True)
class Stage:
    """A part that reads the log.  `lag`: records before it; `consumers`: how many run; None: not asked."""

    name: str
    group: str
    lag: int
    consumers: int | None


@dataclass(frozen=True)
class Partition:
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
class Standing:
    """The whole pipeline at one moment.

    `queryable_before`: everything acknowledged before this moment can be queried; None: not known yet.
    `asked_at`: when this was asked.
    """

    asked_at: datetime
    generation: int
    queryable_before: datetime | None
    stages: tuple[Stage, ...]
    partitions: tuple[Partition, ...]

    def behind_seconds(self, now: datetime) -> float | None:
        """Return how far the rows are behind what was acknowledged; None: not known yet."""
        if self.queryable_before is None:
            return None
        return max(0.0, (now - self.queryable_before).total_seconds())

    @property
    def reached(self) -> bool:
        """Whether everything acknowledged before this was asked can be queried."""
        return self.queryable_before is not None and self.queryable_before >= self.asked_at

    @property
    def lag(self) -> int:
        """How many records lie before all stages together."""
        return sum(stage.lag for stage in self.stages)


def standing(
    seen: Snapshot,
    marks: Marks,
    topology: Topology,
    *,
    asked_at: datetime,
    consumers: Mapping[str, int] | None = None,
) -> Standing:
    """Return where the pipeline stands.  `consumers` by group."""
    lags = {
        "merger": _lag(seen.logged, seen.merged),
        "sink-state": _lag(seen.states, seen.stored_states),
        "sink-events": _lag(seen.logged, seen.stored_events),
        "sink-dlq": _lag(seen.letters, seen.stored_letters),
    }
    return Standing(
        asked_at=asked_at,
        generation=topology.generation,
        queryable_before=marks.moment,
        stages=tuple(
            Stage(
                stage.name, stage.group, lags[stage.name], consumers.get(stage.group) if consumers else None
            )
            for stage in topology.stages
        ),
        partitions=tuple(_partition(number, seen, marks) for number in sorted(seen.logged)),
    )


def _lag(ends: Mapping[Any, int], positions: Mapping[Any, int]) -> int:
    return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())


def _partition(number: int, seen: Snapshot, marks: Marks) -> Partition:
    passed = marks.passed.get(number)
    return Partition(
        number,
        seen.logged[number],
        seen.merged.get(number, 0),
        seen.states.get(number, 0),
        seen.stored_states.get(number, 0),
        seen.stored_events.get(number, 0),
        None if passed is None else passed.offset,
    )


def watermark(found: Standing, now: datetime) -> dict[str, Any]:
    """Return where the pipeline stands as readers of the API get it."""
    before, behind = found.queryable_before, found.behind_seconds(now)
    return {
        "queryable_before": None if before is None else instant(before),
        "behind_seconds": None if behind is None else round(behind, 3),
        "asked_at": instant(found.asked_at),
        "reached": found.reached,
        "generation": found.generation,
        "stages": [
            {"name": stage.name, "group": stage.group, "lag": stage.lag, "consumers": stage.consumers}
            for stage in found.stages
        ],
        "partitions": [_shown(one, found.generation) for one in found.partitions],
    }


def _shown(one: Partition, generation: int) -> dict[str, Any]:
    below = one.queryable_below
    return {
        "partition": one.number,
        "logged": one.logged,
        "merged": one.merged,
        "states": one.states,
        "stored_states": one.stored_states,
        "stored_events": one.stored_events,
        "queryable_below_version": None if below is None else str(version_of(generation, below)),
    }


def instant(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339, with microseconds."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Verdict(NamedTuple):
    """How the pipeline is in one sentence, what to do about it, and the CSS class of a notice."""

    title: str
    advice: str
    style: str


SLOW_SECONDS = 30.0
"""From here on the rows are worth a look: everything usually passes within two seconds."""


def verdict(found: Standing | None, now: datetime) -> Verdict:
    """Return how the pipeline is, for people.  `found` None: a server does not answer."""
    if found is None:
        return Verdict(
            "A server does not answer",
            "Start it again, or look at its log; nothing is lost meanwhile.",
            "notice-bad",
        )
    idle = [stage.name for stage in found.stages if stage.consumers == 0]
    if idle:
        return Verdict(
            f"Nobody runs: {', '.join(idle)}",
            "Start merger and sink: `afterword up` runs both. What was acknowledged waits in the log.",
            "notice-bad",
        )
    behind = found.behind_seconds(now)
    if behind is None or behind > SLOW_SECONDS:
        return Verdict(
            "The rows are behind",
            "What is on the way is being worked through. Where lag does not shrink, look at that log.",
            "notice-warn",
        )
    return Verdict("Everything flows", "What is acknowledged now can be queried within moments.", "")
