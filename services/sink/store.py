"""Stores one batch of a route: rows, dead letters, positions, in this order.

The order is the guarantee.  A position says that everything before it is in ClickHouse or in the dead
letters, so it is written last; a crash before it repeats the batch, which changes no row.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import structlog
from aiokafka.errors import KafkaError

from schemas.tables import SINK_POSITIONS
from services.runtime.records import PlacedRecord
from services.sink import metrics
from services.sink.batch import Batch, Partition, Refused
from services.sink.deadletters import DeadLetters
from services.sink.halving import DEFAULT_SHARE, Tolerance, halves
from services.sink.outage import Outage
from services.sink.routes import Route
from services.sink.rows import position_line
from services.sink.writer import RefusedError, UnavailableError, Writer

log = structlog.get_logger()


class TooManyRefusedError(Exception):
    """ClickHouse refuses so many rows that tables and rows cannot fit each other."""


class Store:
    """What a route needs of ClickHouse and of the dead letters; it outlasts outages of both."""

    def __init__(
        self,
        route: Route,
        writer: Writer,
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

    async def positions(self) -> dict[Partition, int]:
        """Return how far each partition of the route is stored."""
        topics = [topic.name for topic in self._route.topics]
        stored = await self.clickhouse.outlast(lambda: self._writer.positions(topics), UnavailableError)
        self._newest_ms = {partition: one.newest_ms for partition, one in stored.items()}
        return {partition: one.position for partition, one in stored.items()}

    async def store(self, batch: Batch) -> None:
        """Return once the batch's rows are stored or given up, and its positions are stored.

        TooManyRefusedError before anything is given up.
        """
        refused = batch.refused + await self._insert(batch.lines, batch.records)
        self._tolerance = self._tolerance.after(len(batch.lines) + len(batch.refused), len(refused))
        self._check(refused)
        if refused:
            await self._give_up(refused)
        await self._insert_all(SINK_POSITIONS, [*self._position_lines(batch)], None)

    async def _insert(self, lines: Sequence[bytes], records: Sequence[PlacedRecord]) -> list[Refused]:
        """Store all rows but those that ClickHouse refuses, and return these."""
        refused: list[Refused] = []
        pending = [(lines, records)] if lines else []
        while pending:
            part, origins = pending.pop()
            try:
                await self._insert_all(self._route.table, part, self._route.columns)
            except RefusedError as error:
                if len(part) == 1:
                    refused.append(Refused(origins[0], str(error)))
                    self._check(refused)
                    continue
                metrics.HALVINGS.labels(self._route.name).inc()
                pending.extend(reversed([*zip(halves(part), halves(origins), strict=True)]))
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
        for (topic, partition), position in batch.positions.items():
            newest = self._newest_ms.get((topic, partition), 0)
            yield position_line(self._route.name, topic, partition, position, newest)
