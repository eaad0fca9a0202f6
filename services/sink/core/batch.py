"""What a route has read and not stored yet: where it starts, what is fetched, and the batch being filled.

Positions come with the records, not from them: transactions leave control records in the log that a consumer
reads but does not return, and a position that stops before one would never reach the log's end.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from services.pipeline.core.continuity import LogRange
from services.runtime.kafka.core.records import LocatedRecord, LocatedRecordLike, Partition, Record, placed
from services.sink.core.routes import SinkRoute
from services.sink.core.rows import MalformedRowError


def start_offset(stored: int | None, committed: int | None, log: LogRange) -> int:
    """Return the offset of the first record to read; None where no position is stored or committed.

    Both ClickHouse and Kafka keep the position: beside the rows, and as the group's offset.  ClickHouse's is
    written first and is what is stored; Kafka's is the one that operators can move.  Reading again changes no
    row, so the lower one is always right:

    - ClickHouse restored from an older backup: its position is lower, and what it lost is read again.
    - ClickHouse empty, or its positions truncated: all that the log holds is read again.
    - The group's offsets reset by an operator: a request to read again.
    - The group's offsets expired: ClickHouse's position counts.
    """
    if stored is None:
        return log.start
    return stored if committed is None else min(stored, committed)


class FetchedRecords(Protocol):
    """The records that one fetch returned from one partition, decoded as they are taken."""

    @property
    def losses(self) -> int:
        """How many connections of the consumer had broken when it was returned."""

    @property
    def is_taken(self) -> bool:
        """Whether all records were taken."""

    def take(self, most: int) -> Sequence[Record]:
        """Return the next records, at most `most`."""


@dataclass(frozen=True)
class _Part:
    partition: Partition
    fetch: FetchedRecords | None
    """None where the position moved without a record."""
    position: int
    """After all of its records."""


class Taken(NamedTuple):
    """Records by partition, and the position of each partition after them."""

    records: dict[Partition, list[LocatedRecord]]
    positions: dict[Partition, int]


class FetchBuffer:
    """What was fetched and is not taken yet, first in, first out, decoded only as far as the batch has room.

    A position covers what was taken, and never more.  After the last record of a fetch it is the consumer's
    own, since control records of transactions follow there, which are not returned as records.
    """

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        self._reached = {**positions}
        self._parts: deque[_Part] = deque()

    def __bool__(self) -> bool:
        """Return whether anything is buffered."""
        return bool(self._parts)

    def put(self, fetched: Mapping[Partition, FetchedRecords], positions: Mapping[Partition, int]) -> None:
        """Add what was fetched, and the consumer's positions after it."""
        for partition, position in positions.items():
            if partition in fetched or position != self._reached.get(partition):
                self._parts.append(_Part(partition, fetched.get(partition), position))
        self._reached |= positions

    def take(self, most: int) -> Taken:
        """Return at most `most` records, with every position that they reach."""
        taken = Taken({}, {})
        while self._parts:
            part = self._parts[0]
            if part.fetch is not None and not part.fetch.is_taken:
                if most <= 0:
                    break
                most -= _move(part, part.fetch.take(most), taken)
            if part.fetch is None or part.fetch.is_taken:
                taken.positions[part.partition] = part.position
                self._parts.popleft()
        return taken


def _move(part: _Part, records: Sequence[Record], taken: Taken) -> int:
    """Add records of a part to what is taken; returns their number."""
    if records:
        taken.records.setdefault(part.partition, []).extend(placed(*part.partition, records))
        taken.positions[part.partition] = records[-1].offset + 1
    return len(records)


@dataclass(frozen=True)
class BatchLimits:
    """When a batch is written: at whichever limit it reaches first."""

    rows: int
    size: int
    """Bytes."""
    seconds: float

    def after(self, took: float) -> "BatchLimits":
        """Return the limits for the batch after one whose storing took `took` seconds.

        The fixed cost of an insert is paid once a batch: where storing takes long, there are many rows or
        ClickHouse is busy, and larger batches help both.  Where it is quick, small batches keep rows fresh.
        """
        longest = max(self.seconds, MOST_SECONDS)
        return replace(self, seconds=min(longest, max(self.seconds, took)))


MOST_SECONDS = 2.0


@dataclass(frozen=True)
class RefusedRow:
    """A record that cannot be stored, and the reason."""

    record: LocatedRecordLike
    detail: str


@dataclass
class SinkBatch:
    """Rows and positions of one route, in the order in which they were read."""

    route: SinkRoute
    limits: BatchLimits
    lines: list[bytes] = field(default_factory=list)
    records: list[LocatedRecordLike] = field(default_factory=list)
    """The record of each line."""
    line_of: dict[bytes, int] = field(default_factory=dict)
    """On a route that replaces: the index of each key's line."""
    refused: list[RefusedRow] = field(default_factory=list)
    skipped: int = 0
    size: int = 0
    opened_at: float | None = None
    """When the first record or new position was added."""
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
        """Add records that were read, and the positions of their partitions after them."""
        for partition, read in records.items():
            self._take(read)
            self._note_times(partition, read)
            if read:
                self.last[partition] = read[-1]
        self.positions.update(positions)
        if self.opened_at is None and (records or positions):
            self.opened_at = now

    def _take(self, records: Iterable[LocatedRecordLike]) -> None:
        render, generation = self.route.render, self.route.generation
        place_of = self.line_of.setdefault if self.route.replaces else None
        lines, kept, size, count = self.lines, self.records, 0, len(self.lines)
        for record in records:
            try:
                line = render(record, generation)
            except MalformedRowError as error:
                self.refused.append(RefusedRow(record, str(error)))
                continue
            if line is None:
                self.skipped += 1
                continue
            size += len(line)
            if place_of and (key := record.key) is not None and (place := place_of(key, count)) != count:
                # Replaces an older record of the key, which need not be stored.
                size -= len(lines[place])
                lines[place], kept[place] = line, record
                continue
            lines.append(line)
            kept.append(record)
            count += 1
        self.size += size

    def _note_times(self, partition: Partition, records: Iterable[LocatedRecordLike]) -> None:
        times = {record.timestamp for record in records}
        if times:
            self.newest_ms[partition] = max(self.newest_ms.get(partition, 0), *times)
            self.oldest_ms = min(times) if self.oldest_ms is None else min(self.oldest_ms, *times)

    @property
    def room(self) -> int:
        """How many more rows the batch takes; 0 when it is full."""
        return 0 if self.size >= self.limits.size else max(0, self.limits.rows - len(self.lines))

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds the batch is due; None when there is nothing to write."""
        if self.opened_at is None:
            return None
        return 0.0 if self.room == 0 else max(0.0, self.opened_at + self.limits.seconds - now)
