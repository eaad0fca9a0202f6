"""Goes through the log of events once, and holds to it which offsets the table has.  Pure but for its bits.

Every event counts here, whatever the sample is: a bit for each is all that it takes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import Topology
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.selection import Selection
from services.operations.verify.core.snapshot import Cut
from services.reconciliation.core.events import Render, Suspect, said, suspect
from services.reconciliation.core.ranges import Bits, Place, Ranges
from services.runtime.kafka.log_reader import ReadRecords


@dataclass
class Walk:
    """What the walk has seen.  `bits` are the offsets that have a row; those of records are taken out."""

    cut: Cut
    selection: Selection
    render: Render
    bits: dict[Place, Bits]
    holes: dict[Place, Ranges] = field(default_factory=dict)
    events: int = 0
    checked: int = 0
    _next: dict[Place, int] = field(default_factory=dict)

    def take(self, place: Place, read: ReadRecords) -> tuple[list[LogEvent], list[Suspect]]:
        """Return the records that are compared in full, and the events that seem to have no row."""
        at = self._next.get(place)
        if at is None:
            at = self.cut.logs[read.topic, read.partition].start
        chosen: list[LogEvent] = []
        suspects: list[Suspect] = []
        bits = self.bits.setdefault(place, Bits())
        stored_upto = self.cut.events_stored_upto(place)
        for record in read.records:
            if record.offset > at:
                self.holes.setdefault(place, Ranges()).add_stretch(at, record.offset)
            at = record.offset + 1
            has_row = bits.take(record.offset)
            self.events += 1
            if record.key is None:
                continue
            if self.selection.takes(record.key):
                chosen.append(_entry(place, record))
            if record.offset < stored_upto and self._is_meant(record):
                self.checked += 1
                if not has_row:
                    suspects += self._suspected(place, record)
        if read.position > at:
            self.holes.setdefault(place, Ranges()).add_stretch(at, read.position)
        self._next[place] = max(at, read.position)
        return chosen, suspects

    def _is_meant(self, record: Any) -> bool:
        chosen = self.selection
        return (
            chosen.is_of_tenant(record.key)
            and chosen.covers(record.timestamp)
            and chosen.is_kept(record.timestamp)
        )

    def _suspected(self, place: Place, record: Any) -> Iterator[Suspect]:
        line = self.render(record, place.generation)
        if line is not None:
            yield suspect(Topology(place.generation).events.name, record, said(line))

    def left(self) -> Iterator[tuple[Place, int]]:
        """Yield offsets that have a row though the log has no record there."""
        known = {one.number: one for one in self.cut.generations}
        for place, bits in self.bits.items():
            generation, log = known.get(place.generation), self.cut.events_log(place)
            if log is not None:
                start = log.start
            elif generation is None or generation.is_here:
                start = 0  # nobody ever had such a partition
            else:
                continue
            for offset in bits.offsets(start):
                yield place, offset

    def gaps(self) -> set[Place]:
        """Return the partitions of which neither log nor table has every event."""
        found = set()
        for one in self.cut.generations:
            for partition in range(one.partitions):
                place = Place(one.number, partition)
                log = self.cut.events_log(place)
                if (
                    log is None
                    or (self.selection.has_times and log.start)
                    or self.bits.get(place, Bits()).count_below(log.start) < log.start
                ):
                    found.add(place)
        return found

    def holes_told(self, starts: Mapping[tuple[str, int], int]) -> Iterator[tuple[str, int, tuple[int, int]]]:
        """Yield topic, partition and offsets of each hole; `starts` are where the logs begin by now."""
        for place, ranges in self.holes.items():
            topic = Topology(place.generation).events.name
            begins = starts.get((topic, place.partition), 0)
            for start, end in ranges:
                if end > begins:
                    yield topic, place.partition, (max(start, begins), end)


def _entry(place: Place, record: Any) -> LogEvent:
    headers = [(name.encode(errors="surrogateescape"), value) for name, value in record.headers]
    return LogEvent(
        record.key, place.generation, place.partition, record.offset, record.timestamp, record.value, headers
    )
