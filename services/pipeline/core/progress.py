"""Whether a stage makes progress while records wait: the merger by partition, the sink by route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.runtime.kafka.core.records import Partition


class PartitionOffsets(NamedTuple):
    """The committed offset of a partition, and the end of its log."""

    committed: int
    end: int


class PartitionProgress:
    """When each partition last made progress.  Times are seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._moved: dict[int, tuple[int, float]] = {}

    def see(self, partitions: Mapping[int, PartitionOffsets], now: float) -> None:
        """Update from the offsets of the watched partitions."""
        self._moved = {
            partition: (offsets.committed, self._since(partition, offsets, now))
            for partition, offsets in partitions.items()
        }

    def _since(self, partition: int, offsets: PartitionOffsets, now: float) -> float:
        committed, since = self._moved.get(partition, (None, now))
        return since if committed == offsets.committed < offsets.end else now

    def touch(self, now: float) -> None:
        """Count progress that no committed offset shows, such as rows read back."""
        self._moved = {partition: (committed, now) for partition, (committed, _) in self._moved.items()}

    def stalled(self, now: float) -> tuple[float, list[int]]:
        """Return for how many seconds the slowest partitions have made no progress, and their numbers."""
        age = max((now - since for _, since in self._moved.values()), default=0.0)
        return age, [partition for partition, (_, since) in self._moved.items() if now - since == age]


@dataclass(frozen=True)
class RouteOffsets:
    """The committed offsets of a route's group, and the ends of its logs."""

    committed: Mapping[Partition, int] = field(default_factory=dict)
    ends: Mapping[Partition, int] = field(default_factory=dict)

    def lag(self, partition: Partition) -> int:
        """Return how many offsets are not committed yet, control records included."""
        return max(0, self.ends[partition] - self.committed.get(partition, 0))


@dataclass(frozen=True)
class RouteProgress:
    """Since when a route has made no progress although there are records to read."""

    seen: RouteOffsets = field(default_factory=RouteOffsets)
    moved_at: float = 0.0

    def after(self, seen: RouteOffsets, now: float, *, excused: bool) -> "RouteProgress":
        """Return the progress after another check; `excused` while the route waits for ClickHouse."""
        waiting = any(seen.lag(partition) for partition in seen.ends)
        moved = seen.committed != self.seen.committed
        return RouteProgress(seen, now if moved or excused or not waiting else self.moved_at)

    def still_for(self, now: float) -> float:
        """Return for how many seconds the route has made no progress."""
        return now - self.moved_at
