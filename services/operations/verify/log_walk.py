"""Compares which offsets the log of events has with those that `feedback_events` has.

Every event is checked here, whatever the sample is: it takes one bit an event.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import Topology
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import LogSnapshot
from services.reconciliation.core.events import Render, Suspect, expected_event, suspect
from services.reconciliation.core.ranges import Bits, EventsPartition, Ranges
from services.runtime.kafka.log_reader import ReadRecords


@dataclass
class LogWalk:
    """One pass over the log.  `bits` are the offsets that have a row; those of records are taken out."""

    snapshot: LogSnapshot
    selection: VerifySelection
    render: Render
    bits: dict[EventsPartition, Bits]
    holes: dict[EventsPartition, Ranges] = field(default_factory=dict)
    events: int = 0
    checked: int = 0
    _next: dict[EventsPartition, int] = field(default_factory=dict)

    def take(self, place: EventsPartition, read: ReadRecords) -> tuple[list[LogEvent], list[Suspect]]:
        """Return the records that are compared in full, and the events that seem to have no row."""
        at = self._next.get(place)
        if at is None:
            at = self.snapshot.logs[read.topic, read.partition].start
        chosen: list[LogEvent] = []
        suspects: list[Suspect] = []
        bits = self.bits.setdefault(place, Bits())
        stored_upto = self.snapshot.events_stored_upto(place)
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

    def _suspected(self, place: EventsPartition, record: Any) -> Iterator[Suspect]:
        line = self.render(record, place.generation)
        if line is not None:
            yield suspect(Topology(place.generation).events.name, record, expected_event(line))

    def left(self) -> Iterator[tuple[EventsPartition, int]]:
        """Yield offsets that have a row though the log has no record there."""
        known = {one.number: one for one in self.snapshot.generations}
        for place, bits in self.bits.items():
            generation, log = known.get(place.generation), self.snapshot.events_log(place)
            if log is not None:
                start = log.start
            elif generation is None or generation.is_here:
                start = 0  # such a partition never existed
            else:
                continue
            for offset in bits.offsets(start):
                yield place, offset

    def gaps(self) -> set[EventsPartition]:
        """Return the partitions of which neither log nor table has every event."""
        found = set()
        for generation in self.snapshot.generations:
            for partition in range(generation.partitions):
                place = EventsPartition(generation.number, partition)
                log = self.snapshot.events_log(place)
                if (
                    log is None
                    or (self.selection.has_times and log.start)
                    or self.bits.get(place, Bits()).count_below(log.start) < log.start
                ):
                    found.add(place)
        return found

    def hole_ranges(
        self, starts: Mapping[tuple[str, int], int]
    ) -> Iterator[tuple[str, int, tuple[int, int]]]:
        """Yield topic, partition and offsets of each hole; `starts` are where the logs begin by now."""
        for place, ranges in self.holes.items():
            topic = Topology(place.generation).events.name
            begins = starts.get((topic, place.partition), 0)
            for start, end in ranges:
                if end > begins:
                    yield topic, place.partition, (max(start, begins), end)


def _entry(place: EventsPartition, record: Any) -> LogEvent:
    headers = [(name.encode(errors="surrogateescape"), value) for name, value in record.headers]
    return LogEvent(
        record.key, place.generation, place.partition, record.offset, record.timestamp, record.value, headers
    )
