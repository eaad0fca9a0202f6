"""What has been read and is not stored yet: rows, and how far each partition is read.  Pure.

Positions come with the records, not from them: transactions leave markers in the log that are read but
never seen, and a position that stops before one would never reach the log's end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.runtime.kafka.core.records import LocatedRecordLike, Partition
from services.sink.core.routes import Route
from services.sink.core.rows import MalformedRowError


@dataclass(frozen=True)
class Limits:
    """When a batch is written: whichever comes first."""

    rows: int
    size: int
    """Bytes."""
    seconds: float

    def after(self, took: float) -> "Limits":
        """Return the limits for a batch that follows one whose storing took so many seconds.

        Whatever an insert costs besides its rows is paid once a batch: where storing takes long, rows are
        many or ClickHouse is busy, and larger batches help both.  Where it is quick, rows are fresh.
        """
        longest = max(self.seconds, MOST_SECONDS)
        return replace(self, seconds=min(longest, max(self.seconds, took)))


MOST_SECONDS = 2.0


@dataclass(frozen=True)
class Refused:
    """A record that cannot be stored, and why."""

    record: LocatedRecordLike
    detail: str


@dataclass
class Batch:
    """Rows and positions of one route, in the order in which they were read."""

    route: Route
    limits: Limits
    lines: list[bytes] = field(default_factory=list)
    records: list[LocatedRecordLike] = field(default_factory=list)
    """The record of each line."""
    places: dict[bytes, int] = field(default_factory=dict)
    """On a route that replaces, which line each key has."""
    refused: list[Refused] = field(default_factory=list)
    skipped: int = 0
    size: int = 0
    opened_at: float | None = None
    """When the first record or new position came."""
    positions: dict[Partition, int] = field(default_factory=dict)
    newest_ms: dict[Partition, int] = field(default_factory=dict)
    last: dict[Partition, LocatedRecordLike] = field(default_factory=dict)
    """The newest record of each partition."""
    oldest_ms: int | None = None

    def add(
        self,
        records: Mapping[Partition, Sequence[LocatedRecordLike]],
        positions: Mapping[Partition, int],
        now: float,
    ) -> None:
        """Take records that were read, and how far that brought their partitions."""
        for partition, several in records.items():
            self._take(several)
            self._date(partition, several)
            if several:
                self.last[partition] = several[-1]
        self.positions.update(positions)
        if self.opened_at is None and (records or positions):
            self.opened_at = now

    def _take(self, records: Iterable[LocatedRecordLike]) -> None:
        render, generation = self.route.render, self.route.generation
        place_of = self.places.setdefault if self.route.replaces else None
        lines, kept, size, count = self.lines, self.records, 0, len(self.lines)
        for record in records:
            try:
                line = render(record, generation)
            except MalformedRowError as error:
                self.refused.append(Refused(record, str(error)))
                continue
            if line is None:
                self.skipped += 1
                continue
            size += len(line)
            if place_of and (key := record.key) is not None and (place := place_of(key, count)) != count:
                # An older record of the key, which need not be stored.
                size -= len(lines[place])
                lines[place], kept[place] = line, record
                continue
            lines.append(line)
            kept.append(record)
            count += 1
        self.size += size

    def _date(self, partition: Partition, records: Iterable[LocatedRecordLike]) -> None:
        times = {record.timestamp for record in records}
        if times:
            self.newest_ms[partition] = max(self.newest_ms.get(partition, 0), *times)
            self.oldest_ms = min(times) if self.oldest_ms is None else min(self.oldest_ms, *times)

    @property
    def room(self) -> int:
        """How many more rows to read; 0 when the batch is full."""
        return 0 if self.size >= self.limits.size else max(0, self.limits.rows - len(self.lines))

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds to write the batch; None when there is nothing to write."""
        if self.opened_at is None:
            return None
        return 0.0 if self.room == 0 else max(0.0, self.opened_at + self.limits.seconds - now)
