"""Stand-ins for what the sink talks to, and records as Kafka would hand them over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.deadletters import DeadLetter, Reason, Stage, headers_of
from schemas.identity import event_key
from schemas.tables import SINK_POSITIONS
from schemas.topics import Topic, Topology
from services.runtime.clickhouse.insert import RowsRefusedError, StoredPosition, UnavailableError
from services.runtime.kafka.core.log_mark import parse
from services.runtime.kafka.core.records import Headers, LocatedRecordLike, Partition
from services.sink.core.batch import BatchLimits, RefusedRow, SinkBatch
from services.sink.core.routes import SinkRoute, routes
from services.sink.store import Outage, SinkStore

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POISON = b"poison"
"""A line that holds this is refused by `InMemoryWriter`."""


@dataclass(frozen=True)
class FakeRecord:
    """A Kafka record."""

    value: bytes | None
    key: bytes | None = event_key("default", "r-1")
    offset: int = 0
    partition: int = 0
    topic: str = "feedback-state"
    timestamp: int = 1_790_000_000_123
    headers: Headers = ()


@dataclass
class FakeFetch:
    """What one fetch brought from one partition, to be taken bit by bit."""

    records: Sequence[FakeRecord]
    taken: int = 0
    losses: int = 0

    @property
    def is_taken(self) -> bool:
        """Whether all of it was taken."""
        return self.taken >= len(self.records)

    def take(self, most: int) -> Sequence[FakeRecord]:
        """Return the next records."""
        found = self.records[self.taken : self.taken + most]
        self.taken += len(found)
        return found


def state(request_id: str = "r-1", offset: int = 0, **fields: object) -> FakeRecord:
    """Return a record of the state topic."""
    value = {
        "tenant": "default",
        "request_id": request_id,
        "version": offset,
        "first_received_at": "2026-11-22T08:00:00.000001Z",
        "last_received_at": "2026-11-22T08:00:00.000001Z",
        "sources": ["native"],
        "data": {},
        "request": {},
        **fields,
    }
    return FakeRecord(orjson.dumps(value), event_key("default", request_id), offset)


EVENT = {
    "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "tenant": "acme",
    "request_id": "chat/1",
    "received_at": "2026-11-22T08:00:00.123456Z",
    "source": "native",
    "op": "merge",
    "data": {"rating": 5, "ü": [1e-05]},
}
KEY = event_key("acme", "chat/1")
NOT_EVENTS: list[dict[str, Any]] = [
    {"event_id": "1"},
    {"event_id": None},
    {"tenant": "other"},
    {"request_id": 5},
    {"received_at": "yesterday"},
    {"received_at": "2026-11-22T08:00:00"},
    {"op": "upsert"},
    {"op": "retract"},
    {"data": [1]},
    {"data": "x"},
    {"request": 5},
    {"idempotent": "yes"},
]
"""Changes to that event after which it is none."""


def event(offset: int = 7, headers: Any = (), **changes: Any) -> FakeRecord:
    """Return a record of the events topic; a change to None leaves a field out."""
    body = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
    return FakeRecord(orjson.dumps(body), KEY, offset, 3, "feedback-events", headers=headers)


LETTER = DeadLetter(
    stage=Stage.MERGER,
    reason=Reason.MALFORMED_EVENT,
    detail="not an event: ü",
    original_topic="feedback-events",
    original_partition=3,
    original_offset=17,
    original_version=17,
    failed_at="2026-11-22T08:00:00+00:00",
)


def letter(value: bytes | None, key: bytes | None = KEY, headers: Any = None) -> FakeRecord:
    """Return a record of a dead-letter topic."""
    given = headers_of(LETTER) if headers is None else headers
    return FakeRecord(value, key, 4, 0, "feedback-events-dlq", headers=given)


@dataclass
class InMemoryWriter:
    """A writer that keeps what it is given.  `down` makes it unavailable."""

    tables: dict[str, list[bytes]] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    """Table and number of lines of each insert that was tried."""
    columns: dict[str, Sequence[str] | None] = field(default_factory=dict)
    """The columns that the last insert into each table named."""
    down: bool = False

    async def insert(self, table: str, lines: Sequence[bytes], columns: Sequence[str] | None = None) -> None:
        """Keep the lines, all or none."""
        self.calls.append((table, len(lines)))
        self.columns[table] = columns
        if self.down:
            raise UnavailableError("it is switched off")
        if any(POISON in line for line in lines):
            raise RowsRefusedError("Code: 117. a poisoned row")
        self.tables.setdefault(table, []).extend(lines)

    async def positions(self, topics: Iterable[str]) -> dict[Partition, StoredPosition]:
        """Return the highest position of each partition."""
        if self.down:
            raise UnavailableError("it is switched off")
        wanted, found = set(topics), dict[Partition, StoredPosition]()
        for row in map(orjson.loads, self.tables.get(SINK_POSITIONS, [])):
            appended = int(datetime.fromisoformat(row["appended_at"]).timestamp() * 1000)
            one = StoredPosition(row["position"], appended, parse(row.get("mark")))
            place = (row["topic"], row["partition"])
            if row["topic"] in wanted and (place not in found or one.position >= found[place].position):
                found[place] = one
        return found


@dataclass
class InMemoryDeadLetters:
    """Keeps what is dead-lettered; fails first as often as `failures` says."""

    sent: list[tuple[str, RefusedRow, datetime]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def send(self, topic: Topic, refused: Sequence[RefusedRow], now: datetime) -> None:
        """Keep them all, or fail."""
        if self.failures:
            raise self.failures.pop()
        self.sent += [(topic.name, one, now) for one in refused]


@dataclass
class Bench:
    """A store between stand-ins, whose waiting takes no time."""

    route: SinkRoute = field(default_factory=lambda: routes(Topology())[0])
    writer: InMemoryWriter = field(default_factory=InMemoryWriter)
    dead_letters: InMemoryDeadLetters = field(default_factory=InMemoryDeadLetters)
    waits: list[float] = field(default_factory=list)
    """Seconds of each pause."""
    up_after: int | None = None
    """The writer works again after so many pauses."""

    def __post_init__(self) -> None:
        self.outages = self._outage("ClickHouse"), self._outage("Kafka")
        self.store = SinkStore(self.route, self.writer, self.dead_letters, self.outages, lambda: NOW)

    def _outage(self, server: str) -> Outage:
        return Outage(server, self.route.name, clock=lambda: sum(self.waits), sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.up_after is not None and len(self.waits) >= self.up_after:
            self.writer.down = False

    def batch(self, *records: LocatedRecordLike, limits: BatchLimits | None = None) -> SinkBatch:
        """Return a batch of these records, whose positions are right behind them."""
        batch = SinkBatch(self.route, limits or BatchLimits(rows=100_000, size=2**30, seconds=1.0))
        for record in records:
            place = (record.topic, record.partition)
            batch.add({place: [record]}, {place: record.offset + 1}, now=0.0)
        return batch
