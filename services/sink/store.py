"""Stores one batch of a route: rows, dead letters, positions, in this order.

The order is the guarantee.  A position means that everything before it is in ClickHouse or in the dead
letters, so it is written last; a crash before it repeats the batch, which changes no row.

ClickHouse itself may go back in time: an operator restores a backup.  So its positions are read right before
they are written, and rows are inserted again when ClickHouse was unreachable between them and their position.

Rows that ClickHouse refuses are found by splitting the batch, and become dead letters.  Each route has an
`Outage` for ClickHouse and one for Kafka, which retry until the server responds.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import structlog
from aiokafka.errors import KafkaError

from schemas.deadletters import DeadLetter, Reason, Stage, headers_of
from schemas.identity import version_of
from schemas.tables import SINK_POSITIONS
from schemas.topics import Topic
from services.runtime.clickhouse.core.bisection import DEFAULT_SHARE, Tolerance, halves
from services.runtime.clickhouse.insert import RowsRefusedError, RowWriter, StoredPosition, UnavailableError
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, connect, producer
from services.runtime.kafka.core.log_mark import LogMark, mark_of
from services.runtime.kafka.core.records import LocatedRecordLike, Partition
from services.runtime.retry import delays, retry
from services.runtime.settings import KafkaSettings
from services.sink import metrics
from services.sink.core.batch import RefusedRow, SinkBatch
from services.sink.core.routes import SinkRoute
from services.sink.core.rows import position_line, version_in_order

log = structlog.get_logger()

_T = TypeVar("_T")

LONGEST_PAUSE_SECONDS = 2.0
"""The longest delay between two attempts, however long the server was unreachable."""
SLOW_SECONDS = 10.0
"""A server that takes longer for one request counts as not working, although it accepted the connection."""

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


@dataclass
class Outage:
    """Whether a server that a route needs works; changes are logged once.  `since` is None while it works."""

    server: str
    route: str
    clock: Clock
    sleep: Sleep
    since: float | None = None
    tried_at: float | None = None
    """When the attempt in flight began."""
    reason: str = ""
    failures: int = 0
    """How many attempts have failed since the process started."""

    async def outlast(self, attempt: Callable[[], Awaitable[_T]], *errors: type[Exception]) -> _T:
        """Return the attempt's result, retrying after these errors until it succeeds."""
        pauses = delays(longest=LONGEST_PAUSE_SECONDS)
        result = await retry(lambda: self._tried(attempt), errors, pauses, self._failed, self.sleep)
        self._worked()
        return result

    async def _tried(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        self.tried_at = self.clock()
        try:
            return await attempt()
        finally:
            self.tried_at = None

    def _failed(self, error: Exception) -> None:
        self.reason = str(error) or type(error).__name__
        self.failures += 1
        if self.since is None:
            self.since = self.clock()
            log.warning("server stopped answering", server=self.server, route=self.route, reason=self.reason)

    def _worked(self) -> None:
        if self.since is not None:
            seconds = round(self.clock() - self.since, 1)
            log.info("server answered again", server=self.server, route=self.route, seconds=seconds)
        self.since, self.reason = None, ""

    def complaint(self) -> str | None:
        """Return why the server counts as not working, or None."""
        slow = 0.0 if self.tried_at is None else self.clock() - self.tried_at
        if self.since is None:
            return f"{self.server} has not answered for {slow:.0f} s" if slow > SLOW_SECONDS else None
        return f"{self.server} has not done its work for {self.clock() - self.since:.0f} s: {self.reason}"


class DeadLetterWriter(Protocol):
    """Writes refused rows to their dead-letter topic."""

    async def send(self, topic: Topic, refused: Sequence[RefusedRow], now: datetime) -> None:
        """Return once Kafka has them all; KafkaError when it may not."""


def explained(refused: RefusedRow, generation: int, now: datetime) -> DeadLetter:
    """Return the headers of a dead letter; its version is the one at which the row counts."""
    record = refused.record
    version = version_of(generation, record.offset)
    with suppress(ValueError):
        version = version_in_order(record.headers, version)
    return DeadLetter(
        stage=Stage.SINK,
        reason=Reason.REFUSED_BY_CLICKHOUSE,
        detail=refused.detail,
        original_topic=record.topic,
        original_partition=record.partition,
        original_offset=record.offset,
        original_version=version,
        failed_at=now.isoformat(),
    )


class KafkaDeadLetterWriter:
    """Writes to Kafka, with a new producer for each batch that has refused rows, since these are rare.

    A producer that failed cannot be used again: after one refused record every later one is out of order.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def send(self, topic: Topic, refused: Sequence[RefusedRow], now: datetime) -> None:
        """Return once Kafka has them all; KafkaError when it may not."""
        sending = producer(
            self._settings,
            "afterword-sink",
            acks="all",
            enable_idempotence=True,
            max_request_size=topic.max_message_bytes + RECORD_OVERHEAD_BYTES,
        )
        try:
            await connect(sending)
            for one in refused:
                value, key = one.record.value, one.record.key
                if value is None and key is None:
                    key = b""  # aiokafka sends no record without either, and none must be lost
                headers = headers_of(explained(one, topic.generation, now))
                await sending.send_and_wait(topic.name, value=value, key=key, headers=headers)
        finally:
            await sending.stop()


class TooManyRefusedError(Exception):
    """ClickHouse refuses more rows than can be a fault of the rows: the tables do not fit them."""


class StoreWentBack(Exception):  # noqa: N818 (it names what happened)
    """ClickHouse has lower positions than this process has stored in it: an older copy was restored."""


class SinkStore:
    """Stores a route's batches in ClickHouse and its dead letters in Kafka; waits out outages of both."""

    def __init__(
        self,
        route: SinkRoute,
        writer: RowWriter,
        dead_letters: DeadLetterWriter,
        outages: tuple[Outage, Outage],
        wall_clock: Callable[[], datetime],
        max_refused_share: float = DEFAULT_SHARE,
    ) -> None:
        self._route, self._writer, self._dead_letters = route, writer, dead_letters
        self.clickhouse, self.kafka = outages
        self._now = wall_clock
        self._tolerance = Tolerance(share=max_refused_share)
        self._newest_ms: dict[Partition, int] = {}
        self._marks: dict[Partition, LogMark] = {}
        """The newest known mark of each partition."""
        self._reached: dict[Partition, int] = {}
        """The newest position of each partition that ClickHouse has returned or confirmed."""
        self._confirmed_at = 0
        """The count of ClickHouse's failures when it confirmed the first rows of the batch."""

    def mark(self, partition: Partition) -> LogMark | None:
        """Return the mark of a record below the newest stored position, None if none is known."""
        return self._marks.get(partition)

    async def positions(self) -> dict[Partition, StoredPosition]:
        """Return the stored position of each partition; lower ones raise StoreWentBack from now on."""
        stored = await self.clickhouse.outlast(self._read, UnavailableError)
        self._newest_ms = {partition: one.newest_ms for partition, one in stored.items()}
        self._reached = {partition: one.position for partition, one in stored.items()}
        self._marks = {partition: one.mark for partition, one in stored.items() if one.mark is not None}
        return stored

    async def check(self) -> None:
        """Compare ClickHouse's positions with the newest that it had; StoreWentBack if one is lower."""
        self._compare(await self.clickhouse.outlast(self._read, UnavailableError))

    async def store(self, batch: SinkBatch) -> None:
        """Return once the batch's rows are stored or dead-lettered, and its positions are stored.

        TooManyRefusedError before any row is dead-lettered; StoreWentBack before positions are written.
        """
        refused = batch.refused + await self._insert(batch.lines, batch.records)
        self._tolerance = self._tolerance.after(len(batch.lines) + len(batch.refused), len(refused))
        self._check(refused)
        if refused:
            await self._dead_letter(refused)
        while not await self.clickhouse.outlast(lambda: self._advance(batch), UnavailableError):
            # An older copy of ClickHouse may have come back, with these positions but without these rows.
            await self._insert(batch.lines, batch.records)
        self._reached |= batch.positions

    async def _advance(self, batch: SinkBatch) -> bool:
        """Store the positions; False if ClickHouse was unreachable since it confirmed rows of the batch."""
        self._compare(await self._read())
        if batch.lines and self.clickhouse.failures != self._confirmed_at:
            return False
        await self._writer.insert(SINK_POSITIONS, [*self._position_lines(batch)], None)
        return True

    async def _read(self) -> dict[Partition, StoredPosition]:
        return await self._writer.positions([topic.name for topic in self._route.topics])

    def _compare(self, stored: Mapping[Partition, StoredPosition]) -> None:
        for (topic, partition), reached in self._reached.items():
            position = stored.get((topic, partition))
            if position is None or position.position < reached:
                has = "no position" if position is None else f"position {position.position}"
                raise StoreWentBack(f"ClickHouse has {has} of {topic}/{partition}, and had {reached}")

    async def _insert(self, lines: Sequence[bytes], records: Sequence[LocatedRecordLike]) -> list[RefusedRow]:
        """Store all rows except those that ClickHouse refuses, and return these."""
        refused: list[RefusedRow] = []
        confirmed_at: int | None = None
        pending = [(lines, records)] if lines else []
        while pending:
            part, origins = pending.pop()
            try:
                await self._insert_all(self._route.table, part, self._route.columns)
            except RowsRefusedError as error:
                if len(part) == 1:
                    refused.append(RefusedRow(origins[0], str(error)))
                    self._check(refused)
                    continue
                metrics.HALVINGS.labels(self._route.name).inc()
                pending.extend(reversed([*zip(halves(part), halves(origins), strict=True)]))
            else:
                confirmed_at = self.clickhouse.failures if confirmed_at is None else confirmed_at
        self._confirmed_at = self.clickhouse.failures if confirmed_at is None else confirmed_at
        return refused

    def _check(self, refused: Sequence[RefusedRow]) -> None:
        tolerance = self._tolerance.after(0, len(refused)) if refused else self._tolerance
        if tolerance.exceeded:
            raise TooManyRefusedError(
                f"ClickHouse refuses too many rows of {self._route.table}: {refused[-1].detail}."
                "  None was dead-lettered; is the database migrated (`afterword migrate`)?  If the rows are"
                " wrong, and not the tables, set SINK_MAX_DEAD_LETTER_SHARE=1 to dead-letter them."
            )

    async def _insert_all(self, table: str, lines: Sequence[bytes], columns: Iterable[str] | None) -> None:
        named = None if columns is None else [*columns]
        await self.clickhouse.outlast(lambda: self._writer.insert(table, lines, named), UnavailableError)

    async def _dead_letter(self, refused: Sequence[RefusedRow]) -> None:
        topic = self._route.dead_letters
        for one in refused:
            log.error(
                "row refused",
                route=self._route.name,
                topic=one.record.topic,
                partition=one.record.partition,
                offset=one.record.offset,
                dead_letters=topic.name if topic else None,
                reason=one.detail,
            )
        if topic is not None:
            await self.kafka.outlast(lambda: self._dead_letters.send(topic, refused, self._now()), KafkaError)
        metrics.DEAD_LETTERS.labels(self._route.name).inc(len(refused))

    def _position_lines(self, batch: SinkBatch) -> Iterable[bytes]:
        # A batch without records, only control records, does not change how fresh the table is.
        self._newest_ms |= batch.newest_ms
        self._marks |= {partition: mark_of(record) for partition, record in batch.last.items()}
        for (topic, partition), position in batch.positions.items():
            newest = self._newest_ms.get((topic, partition), 0)
            mark = self._marks.get((topic, partition))
            yield position_line(self._route.name, topic, partition, position, newest, mark)
