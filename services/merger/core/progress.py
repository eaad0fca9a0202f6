"""Who stands still though events wait?  Pure: offsets and times are handed in."""

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """How far a partition is, and where it ends."""

    committed: int
    end: int


class Progress:
    """Remembers when each partition last moved.  Times are seconds of any clock."""

    def __init__(self) -> None:
        self._moved: dict[int, tuple[int, float]] = {}

    def see(self, places: Mapping[int, Place], now: float) -> None:
        """Take note of how far the watched partitions are."""
        self._moved = {
            partition: (place.committed, self._since(partition, place, now))
            for partition, place in places.items()
        }

    def _since(self, partition: int, place: Place, now: float) -> float:
        committed, since = self._moved.get(partition, (None, now))
        return since if committed == place.committed < place.end else now

    def touch(self, now: float) -> None:
        """Take note of progress that no offset shows: rows are being read back."""
        self._moved = {partition: (committed, now) for partition, (committed, _) in self._moved.items()}

    def stalled(self, now: float) -> tuple[float, list[int]]:
        """Return for how many seconds the slowest partitions have stood still, and which ones they are."""
        age = max((now - since for _, since in self._moved.values()), default=0.0)
        return age, [partition for partition, (_, since) in self._moved.items() if now - since == age]
