"""What every partition of this process works with."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.topics import Topology
from services.merger.core.fold import Source
from services.merger.directory import Directory
from services.merger.settings import MergerSettings
from services.merger.state_store import Owner
from services.pipeline.core.continuity import ContinuityFacts


def wall_clock() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _nobody() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Settings, names and facts that the start found out.

    `progressed` is called whenever rows are read back, so that a long recovery is not taken for a stall.
    """

    settings: MergerSettings
    topology: Topology
    directory: Directory
    facts: ContinuityFacts
    tombstone_ms: int
    """How long the state topic keeps a tombstone: a copy that was away for longer may have missed one."""
    clock: Callable[[], int] = wall_clock
    progressed: Callable[[], None] = _nobody

    def owner(self, partition: int) -> Owner:
        """Return what the local copy of a partition is of."""
        return Owner(self.facts.cluster_id, self.topology.state.name, partition)

    def source(self, partition: int) -> Source:
        """Return where a partition's events come from."""
        events = self.topology.events
        count = sum(1 for topic, _ in self.facts.log if topic == events.name)
        return Source(events.name, events.generation, partition, count)
