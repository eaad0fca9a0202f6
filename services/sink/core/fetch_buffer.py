"""What was fetched and is not taken yet: bytes of Kafka's, decoded as far as there is room for rows.  Pure.

A position says how far a partition was taken, and never more.  Behind the last record of a fetch it is the
consumer's own, since markers of transactions lie there, which nobody sees as records.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.runtime.kafka.core.records import LocatedRecord, Partition, Record, placed


class Fetch(Protocol):
    """What one fetch brought from one partition."""

    @property
    def losses(self) -> int:
        """How many connections of the consumer had broken when it came."""

    @property
    def is_taken(self) -> bool:
        """Whether all of it was taken."""

    def take(self, most: int) -> Sequence[Record]:
        """Return the next records, so many if there are."""


@dataclass(frozen=True)
class _Part:
    place: Partition
    fetch: Fetch | None
    """None where the position moved, and no record came."""
    position: int
    """Behind all of it."""


class Taken(NamedTuple):
    """Records in the order of their partitions, and how far that brings these."""

    records: dict[Partition, list[LocatedRecord]]
    positions: dict[Partition, int]


class Waiting:
    """What one assignment of partitions has fetched, first in, first out."""

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        self._reached = {**positions}
        self._parts: deque[_Part] = deque()

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._parts)

    def put(self, found: Mapping[Partition, Fetch], positions: Mapping[Partition, int]) -> None:
        """Keep what was fetched, and how far the consumer has come by that."""
        for place, position in positions.items():
            if place in found or position != self._reached.get(place):
                self._parts.append(_Part(place, found.get(place), position))
        self._reached |= positions

    def take(self, most: int) -> Taken:
        """Return so many records if they are there, with all positions that then are reached."""
        taken = Taken({}, {})
        while self._parts:
            part = self._parts[0]
            if part.fetch is not None and not part.fetch.is_taken:
                if most <= 0:
                    break
                most -= _move(part, part.fetch.take(most), taken)
            if part.fetch is None or part.fetch.is_taken:
                taken.positions[part.place] = part.position
                self._parts.popleft()
        return taken


def _move(part: _Part, records: Sequence[Record], taken: Taken) -> int:
    """Add records of a part to what is taken, and return how many they are."""
    if records:
        taken.records.setdefault(part.place, []).extend(placed(*part.place, records))
        taken.positions[part.place] = records[-1].offset + 1
    return len(records)
