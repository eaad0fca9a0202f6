"""Is a route getting on?  Pure: what was seen of its offsets, and when, in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.runtime.kafka.core.records import Partition


@dataclass(frozen=True)
class Seen:
    """What an independent look at Kafka showed: how far a group has committed, and where the logs end."""

    committed: Mapping[Partition, int] = field(default_factory=dict)
    ends: Mapping[Partition, int] = field(default_factory=dict)

    def lag(self, partition: Partition) -> int:
        """Return how many offsets are not stored yet, markers of transactions included."""
        return max(0, self.ends[partition] - self.committed.get(partition, 0))


@dataclass(frozen=True)
class Progress:
    """Since when a route has not moved though there is something to read."""

    seen: Seen = field(default_factory=Seen)
    moved_at: float = 0.0

    def after(self, seen: Seen, now: float, *, excused: bool) -> "Progress":
        """Return the state after another look; `excused` while ClickHouse is what it waits for."""
        waiting = any(seen.lag(partition) for partition in seen.ends)
        moved = seen.committed != self.seen.committed
        return Progress(seen, now if moved or excused or not waiting else self.moved_at)

    def still_for(self, now: float) -> float:
        """Return for how many seconds nothing has moved."""
        return now - self.moved_at
