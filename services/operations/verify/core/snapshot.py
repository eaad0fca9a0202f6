"""The positions that a comparison is made at: what is promised, and where the logs begin and end."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from schemas.identity import OFFSET_BITS
from schemas.topics import Topology
from services.operations.audit.core.row_to_event import events_topic
from services.pipeline.core.continuity import ContinuityProblem, LogRange
from services.reconciliation.core.ranges import EventsPartition

LogPartition = tuple[str, int]
"""A topic and the number of a partition."""


@dataclass(frozen=True)
class KnownGeneration:
    """Topics that exist, or that ClickHouse remembers."""

    number: int
    partitions: int
    is_here: bool
    """Whether this Kafka cluster has its topics, and the tables were made from them."""

    @property
    def topology(self) -> Topology:
        """Its names."""
        return Topology(self.number)


@dataclass(frozen=True, kw_only=True)
class LogSnapshot:
    """Positions of one moment.

    `merged` and `stored` were read first: what is before them is promised.  `logs` were read last: whatever a
    service had read by then is before their ends.
    """

    generations: tuple[KnownGeneration, ...]
    in_use: int
    merged: Mapping[LogPartition, int] = field(default_factory=dict)
    stored: Mapping[LogPartition, int] = field(default_factory=dict)
    logs: Mapping[LogPartition, LogRange] = field(default_factory=dict)
    members: Mapping[str, int] = field(default_factory=dict)
    """How many consumers each group had."""
    problems: tuple[ContinuityProblem, ...] = ()

    @property
    def here(self) -> tuple[KnownGeneration, ...]:
        """The generations whose topics can be read."""
        return tuple(generation for generation in self.generations if generation.is_here)

    @cached_property
    def current(self) -> Topology:
        """The topics in use."""
        return Topology(self.in_use)

    @cached_property
    def state_topic(self) -> str:
        """The name of the state topic in use."""
        return self.current.state.name

    def with_logs(self, logs: Mapping[LogPartition, LogRange]) -> "LogSnapshot":
        """Return the cut with where the logs are."""
        return replace(self, logs=dict(logs))

    def partitions(self, generation: int) -> int:
        """Return how many partitions a generation has; 1 for an unknown one."""
        return next((one.partitions for one in self.generations if one.number == generation), 1)

    def merged_upto(self, place: EventsPartition) -> int:
        """Return before which offset everything was merged: all, of topics that are gone.

        A generation begins with the states of those before it, whatever became of their topics.
        """
        if any(
            generation.number == place.generation and not generation.is_here
            for generation in self.generations
        ):
            return 1 << OFFSET_BITS
        return self.merged.get((events_topic(place.generation), place.partition), 0)

    def events_stored_upto(self, place: EventsPartition) -> int:
        """Return before which offset the sink has stored every event."""
        return self.stored.get((events_topic(place.generation), place.partition), 0)

    def rows_stored_upto(self, partition: int) -> int:
        """Return before which offset the sink has stored every state of the generation in use."""
        return self.stored.get((self.state_topic, partition), 0)

    def events_log(self, place: EventsPartition) -> LogRange | None:
        """Return what the log of events holds of a partition, None if it is not here."""
        return self.logs.get((events_topic(place.generation), place.partition))

    def on_its_way(self) -> dict[str, int]:
        """Return how many offsets each stage has yet to read, by the stage's name."""
        waiting = {}
        for stage in self.current.stages:
            positions = self.merged if stage.name == "merger" else self.stored
            names = {topic.name for topic in stage.topics}
            waiting[stage.name] = sum(
                max(0, log.end - max(log.start, positions.get(place, 0)))
                for place, log in self.logs.items()
                if place[0] in names
            )
        return waiting
