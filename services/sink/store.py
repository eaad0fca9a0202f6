"""Stores one batch of a route: rows, dead letters, positions, in this order.

The order is the guarantee.  A position says that everything before it is in ClickHouse or in the dead
letters, so it is written last; a crash before it repeats the batch, which changes no row.

ClickHouse itself may go back in time: an operator restores a backup.  So its positions are read right before
they are written, and rows are inserted again when ClickHouse was away between them and their position.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import structlog
from aiokafka.errors import KafkaError

from schemas.tables import SINK_POSITIONS
from services.runtime.clickhouse.core.bisection import DEFAULT_SHARE, Tolerance, halves
from services.runtime.clickhouse.insert import RowsRefusedError, RowWriter, StoredPosition, UnavailableError
from services.runtime.kafka.core.log_mark import LogMark, mark_of
from services.runtime.kafka.core.records import LocatedRecordLike, Partition
from services.sink import metrics
from services.sink.core.batch import Batch, Refused
from services.sink.core.routes import Route
from services.sink.core.rows import position_line
from services.sink.dead_letters import DeadLetters
from services.sink.outage import Outage

log = structlog.get_logger()


class TooManyRefusedError(Exception):
    """ClickHouse refuses so many rows that tables and rows cannot fit each other."""


class StoreWentBack(Exception):  # noqa: N818 (it says what happened)
    """ClickHouse has lower positions than this process has stored in it: an older copy was restored."""


class Store:
    """What a route needs of ClickHouse and of the dead letters; it outlasts outages of both."""

    def __init__(
        self,
        route: Route,
        writer: RowWriter,
        dead_letters: DeadLetters,
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
        """The newest mark of each partition that is known."""
        self._reached: dict[Partition, int] = {}
        """The position of each partition that ClickHouse is known to have had."""
        self._confirmed_at = 0
        """Failures of ClickHouse, as counted when it confirmed the first rows of the batch."""

    def mark(self, partition: Partition) -> LogMark | None:
        """Return the mark of a record below the position that was stored last."""
        return self._marks.get(partition)

    async def positions(self) -> dict[Partition, StoredPosition]:
        """Return how far each partition of the route is stored; from now on it must not be less."""
        stored = await self.clickhouse.outlast(self._read, UnavailableError)
        self._newest_ms = {partition: one.newest_ms for partition, one in stored.items()}
        self._reached = {partition: one.position for partition, one in stored.items()}
        self._marks = {partition: one.mark for partition, one in stored.items() if one.mark is not None}
        return stored

    async def check(self) -> None:
        """Compare ClickHouse's positions with what it is known to have had; StoreWentBack."""
        self._compare(await self.clickhouse.outlast(self._read, UnavailableError))

    async def store(self, batch: Batch) -> None:
        """Return once the batch's rows are stored or given up, and its positions are stored.

        TooManyRefusedError before anything is given up; StoreWentBack before positions are written.
        """
        refused = batch.refused + await self._insert(batch.lines, batch.records)
        self._tolerance = self._tolerance.after(len(batch.lines) + len(batch.refused), len(refused))
        self._check(refused)
        if refused:
            await self._give_up(refused)
        while not await self.clickhouse.outlast(lambda: self._advance(batch), UnavailableError):
            # An older copy of ClickHouse may have come back, with these positions but without these rows.
            await self._insert(batch.lines, batch.records)
        self._reached |= batch.positions

    async def _advance(self, batch: Batch) -> bool:
        """Store the positions, unless ClickHouse was away since it confirmed rows of the batch."""
        self._compare(await self._read())
        if batch.lines and self.clickhouse.failures != self._confirmed_at:
            return False
        await self._writer.insert(SINK_POSITIONS, [*self._position_lines(batch)], None)
        return True

    async def _read(self) -> dict[Partition, StoredPosition]:
        return await self._writer.positions([topic.name for topic in self._route.topics])

    def _compare(self, stored: Mapping[Partition, StoredPosition]) -> None:
        for (topic, partition), reached in self._reached.items():
            found = stored.get((topic, partition))
            if found is None or found.position < reached:
                has = "no position" if found is None else f"position {found.position}"
                raise StoreWentBack(f"ClickHouse has {has} of {topic}/{partition}, and had {reached}")

    async def _insert(self, lines: Sequence[bytes], records: Sequence[LocatedRecordLike]) -> list[Refused]:
        """Store all rows but those that ClickHouse refuses, and return these."""
        refused: list[Refused] = []
        confirmed_at: int | None = None
        pending = [(lines, records)] if lines else []
        while pending:
            part, origins = pending.pop()
            try:
                await self._insert_all(self._route.table, part, self._route.columns)
            except RowsRefusedError as error:
                if len(part) == 1:
                    refused.append(Refused(origins[0], str(error)))
                    self._check(refused)
                    continue
                metrics.HALVINGS.labels(self._route.name).inc()
                pending.extend(reversed([*zip(halves(part), halves(origins), strict=True)]))
            else:
                confirmed_at = self.clickhouse.failures if confirmed_at is None else confirmed_at
        self._confirmed_at = self.clickhouse.failures if confirmed_at is None else confirmed_at
        return refused

    def _check(self, refused: Sequence[Refused]) -> None:
        tolerance = self._tolerance.after(0, len(refused)) if refused else self._tolerance
        if tolerance.exceeded:
            raise TooManyRefusedError(
                f"ClickHouse refuses too many rows of {self._route.table}: {refused[-1].detail}."
                "  Nothing was given up; is the database migrated (`afterword migrate`)?  If it is the rows"
                " that are wrong, and not the tables, set SINK_MAX_DEAD_LETTER_SHARE=1 to give them up."
            )

    async def _insert_all(self, table: str, lines: Sequence[bytes], columns: Iterable[str] | None) -> None:
        named = None if columns is None else [*columns]
        await self.clickhouse.outlast(lambda: self._writer.insert(table, lines, named), UnavailableError)

    async def _give_up(self, refused: Sequence[Refused]) -> None:
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

    def _position_lines(self, batch: Batch) -> Iterable[bytes]:
        # A batch of nothing but transaction markers leaves the table as fresh as it was.
        self._newest_ms |= batch.newest_ms
        self._marks |= {partition: mark_of(record) for partition, record in batch.last.items()}
        for (topic, partition), position in batch.positions.items():
            newest = self._newest_ms.get((topic, partition), 0)
            mark = self._marks.get((topic, partition))
            yield position_line(self._route.name, topic, partition, position, newest, mark)
