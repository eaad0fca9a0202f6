"""The judge's own fold: what the log of events must yield, in memory that grows with rows, not with events.

Pure.  Written from the rules and not from the merger's code; a property test holds it to
`tests.support.oracles.merge`, which works every row out of all its events, the slow way.

    truth = Truth(partitions=4)
    for record in records_of_each_partition_in_order:
        truth.read(record)
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from chaos.judge.bodies import (
    Body,
    LogRecord,
    body_of,
    home_of,
    is_named_in_text,
    object_text,
    replayed_version,
)

NEVER = -1
_REMEMBERED = 8
_SOURCES = 16

Field = tuple[int, str | None]
"""A version, and the value's text, None for one that was cleared."""
Place = tuple[int, int]
"""Partition and offset of a record of the events topic."""


class Became(StrEnum):
    """The outcome of a record.  Those that are reasons of dead letters bear their names."""

    MERGED = "merged"
    REPEAT = "repeat"
    ERASED = "erased"
    MALFORMED = "malformed_event"
    INVALID_REPLAY = "invalid_replay"
    CONFLICT = "idempotency_conflict"
    TOO_LARGE = "row_too_large"
    CRASHED = "crashed"


REFUSED = frozenset(
    {Became.MALFORMED, Became.INVALID_REPLAY, Became.CONFLICT, Became.TOO_LARGE, Became.CRASHED}
)
"""What is a dead letter."""


@dataclass(slots=True)
class Row:
    """What is known of one request."""

    version: int = NEVER
    erased: int = NEVER
    retracted: int = NEVER
    data: dict[str, Field] = field(default_factory=dict)
    request: dict[str, Field] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None
    sources: set[str] = field(default_factory=set)
    recent: list[tuple[int, str, bytes]] = field(default_factory=list)
    """(version, event id, hash) of the newest idempotent events."""
    bound: int = 0
    """At least the bytes of everything in the row."""

    @property
    def is_deleted(self) -> bool:
        """Whether nothing is left but the version up to which everything is erased."""
        return self.version == self.erased

    def shown(self) -> "Shown":
        """Return the row as everybody sees it."""
        return Shown(
            self.version,
            self.first,
            self.last,
            tuple(sorted(self.sources)[:_SOURCES]),
            _visible(self.data),
            _visible(self.request),
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """A row's public part.  Times in microseconds; `data` and `request` as canonical JSON text."""

    version: int
    first: int | None
    last: int | None
    sources: tuple[str, ...]
    data: str
    request: str


def _visible(fields: dict[str, Field]) -> str:
    return object_text({key: text for key, (_, text) in fields.items() if text is not None})


@dataclass(frozen=True, slots=True)
class Read:
    """What the judge made of a record: the version at which it counts, and the event that it holds."""

    became: Became
    version: int
    body: Body | None


class Truth:
    """Every row, and every dead letter, that must come of the log."""

    def __init__(
        self,
        *,
        partitions: int | None = None,
        generation: int = 0,
        crashed: Collection[Place] = (),
        max_keys: int = 1024,
        max_bytes: int = 4 << 20,
    ) -> None:
        """`crashed` are the records that the merger gave up unseen; without `partitions` any home will do."""
        self._base, self._partitions = generation << 48, partitions
        self._crashed = crashed
        self._max_keys, self._max_bytes = max_keys, max_bytes
        self.rows: dict[bytes, Row] = {}
        self.dead: dict[Place, Became] = {}

    def read(self, record: LogRecord) -> Read:
        """Take the next record of its partition."""
        own = self._base + record.offset
        body = body_of(record) if is_named_in_text(record.headers) else None
        version = replayed_version(record.headers, own)
        became = self._became(record, body, version)
        if became in REFUSED:
            self.dead[record.partition, record.offset] = became
        return Read(became, own if version is None else version, body)

    def _became(self, record: LogRecord, body: Body | None, version: int | None) -> Became:
        if (record.partition, record.offset) in self._crashed:
            return Became.CRASHED
        if not is_named_in_text(record.headers):
            return Became.MALFORMED
        if version is None:
            return Became.INVALID_REPLAY
        key = record.key
        if body is None or key is None or not self._is_home(key, record.partition):
            return Became.MALFORMED
        row = self.rows.get(key) or Row()
        became = self._consume(row, body, version, len(record.value or b""))
        if row.version != NEVER:
            self.rows[key] = row
        return became

    def _is_home(self, key: bytes, partition: int) -> bool:
        return self._partitions is None or home_of(key, self._partitions) == partition

    def _consume(self, row: Row, body: Body, version: int, size: int) -> Became:
        if version <= row.erased:
            return Became.ERASED
        for _, event_id, digest in row.recent:
            if event_id == body.event_id:
                row.version = max(row.version, version)
                return Became.REPEAT if digest == body.said else Became.CONFLICT
        if body.op == "merge" and self._overflows(row, body, version, size):
            return Became.TOO_LARGE
        _merge(row, body, version)
        row.bound += size
        return Became.MERGED

    def _overflows(self, row: Row, body: Body, version: int, size: int) -> bool:
        keys = len(row.data) + len(row.request) + len(body.data or ()) + len(body.request or ())
        if keys <= self._max_keys and row.bound + size <= self._max_bytes:
            return False
        trial = Row(row.version, row.erased, row.retracted, dict(row.data), dict(row.request))
        _put(trial, body, version)
        fields = [*trial.data.items(), *trial.request.items()]
        row.bound = sum(len(key.encode()) + len((text or "").encode()) for key, (_, text) in fields)
        return len(fields) > self._max_keys or row.bound > self._max_bytes


def _merge(row: Row, body: Body, version: int) -> None:
    if body.op == "erase":
        _erase(row, version)
    else:
        if body.op == "retract":
            row.retracted = max(row.retracted, version)
            row.data = _above(row.data, row.retracted)
        _put(row, body, version)
        row.first = body.received if row.first is None else min(row.first, body.received)
        row.last = body.received if row.last is None else max(row.last, body.received)
        row.sources.add(body.source)
        if body.idempotent:
            remembered = {(version, body.event_id, body.said), *row.recent}
            row.recent = sorted(remembered)[-_REMEMBERED:]
    row.version = max(row.version, version)


def _put(row: Row, body: Body, version: int) -> None:
    floors = max(row.erased, row.retracted), row.erased
    for mine, said, floor in zip((row.data, row.request), (body.data, body.request), floors, strict=True):
        for key, text in (said or {}).items():
            if version > floor and (key not in mine or version > mine[key][0]):
                mine[key] = version, None if text == "null" else text


def _erase(row: Row, version: int) -> None:
    row.erased = version
    row.data, row.request = _above(row.data, version), _above(row.request, version)
    row.recent = [one for one in row.recent if one[0] > version]
    if version >= row.version:
        row.first = row.last = None
        row.sources = set()


def _above(fields: dict[str, Field], floor: int) -> dict[str, Field]:
    return {key: one for key, one in fields.items() if one[0] > floor}
