"""What every partition of this process shares: settings, topic names, directory, and facts from the start."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.topics import Topology
from services.merger.core.fold import SourcePartition
from services.merger.directory import Directory
from services.merger.settings import MergerSettings
from services.merger.state_store import CopyOwner
from services.pipeline.core.continuity import ContinuityFacts


def wall_clock() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _ignore() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The context of a merger process.

    `progressed` is called whenever rows are read back, so that a long recovery is not taken for a stall.
    """

    settings: MergerSettings
    topology: Topology
    directory: Directory
    facts: ContinuityFacts
    tombstone_ms: int
    """How long the state topic keeps a tombstone: a copy not updated for longer may have missed one."""
    clock: Callable[[], int] = wall_clock
    progressed: Callable[[], None] = _ignore

    def owner(self, partition: int) -> CopyOwner:
        """Return the owner of a partition's local copy: its cluster, topic and number."""
        return CopyOwner(self.facts.cluster_id, self.topology.state.name, partition)

    def source(self, partition: int) -> SourcePartition:
        """Return the partition of the events that is merged into a partition of the states."""
        events = self.topology.events
        count = sum(1 for topic, _ in self.facts.log if topic == events.name)
        return SourcePartition(events.name, events.generation, partition, count)
