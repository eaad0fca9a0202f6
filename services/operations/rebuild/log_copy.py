"""Copies stretches of the log into a table, rendered as the sink renders them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from schemas.limits import MIB
from services.operations.errors import kafka_unreachable
from services.operations.exits import UnreachableError
from services.operations.rebuild.core.checksum import ChecksumTally, digest
from services.operations.rebuild.core.scope import LETTERS, RebuildScope, RebuildTable, TopicRange
from services.operations.rebuild.log import CLIENT, RouteTopics
from services.runtime.clickhouse.core.bisection import halves
from services.runtime.clickhouse.insert import RowsRefusedError, RowWriter, UnavailableError
from services.runtime.kafka.log_reader import OffsetRange, read
from services.runtime.settings import KafkaSettings
from services.sink.core.routes import SinkRoute
from services.sink.core.rows import DEAD_LETTER_COLUMNS, MalformedRowError

BATCH_ROWS, BATCH_BYTES = 50_000, 32 * MIB


@dataclass
class CopyResult:
    """The result of copying.

    `unsummed` are keys of rows that ClickHouse refuses, or takes though the merger cannot have written them.
    """

    read: int = 0
    rows: int = 0
    refused: int = 0
    unsummed: set[str] = field(default_factory=set)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0


class LogCopier:
    """Copies into one table, one insert beside the reading."""

    def __init__(
        self,
        settings: KafkaSettings,
        writer: RowWriter,
        kind: RebuildTable,
        table: str,
        tally: ChecksumTally,
        scope: RebuildScope,
    ) -> None:
        self._settings, self._writer = settings, writer
        self._kind, self.table, self._tally, self._scope = kind, table, tally, scope
        self._inserting: asyncio.Task[None] | None = None
        self.copied = CopyResult()

    async def copy(
        self, sources: Sequence[RouteTopics], ranges: Sequence[TopicRange], moved: Callable[[int], None]
    ) -> None:
        """Copy what the reaches hold; UnreachableError when Kafka or ClickHouse goes away."""
        ways = {topic.name: source.route for source in sources for topic in source.topics}
        topics = [topic for source in sources for topic in source.topics]
        stretches = [
            OffsetRange(one.topic, number, start, end)
            for one in ranges
            for number, (start, end) in enumerate(zip(one.starts, one.ends, strict=True))
        ]
        before = {(stretch.topic, stretch.partition): stretch.start for stretch in stretches}
        try:
            async for part in read(self._settings, CLIENT, topics, stretches):
                await self._take(ways[part.topic], part.records)
                moved(part.position - before[part.topic, part.partition])
                before[part.topic, part.partition] = part.position
            await self._flush()
        except KafkaError as error:
            raise kafka_unreachable(self._settings) from error
        finally:
            await self._settled()

    async def _take(self, route: SinkRoute, records: Sequence[Any]) -> None:
        for record in records:
            self.copied.read += 1
            if self._scope.has(record.key) and (line := self._rendered(route, record)) is not None:
                self.copied.lines.append(line)
                self.copied.size += len(line)
            if len(self.copied.lines) >= BATCH_ROWS or self.copied.size >= BATCH_BYTES:
                await self._flush()

    def _rendered(self, route: SinkRoute, record: Any) -> bytes | None:
        try:
            line = route.render(record, route.generation)
        except MalformedRowError:
            self.copied.refused += 1  # the sink dead-lettered it as well
            return None
        if line is None:
            return None
        try:
            self._tally.add(digest(self._kind, line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.copied.unsummed.add((record.key or b"").decode(errors="replace"))
        stored = datetime.fromtimestamp(max(0, record.timestamp) / 1000, UTC).isoformat()
        return b'{"stored_at":"%b",%b' % (stored.encode(), line[1:])

    async def _flush(self) -> None:
        lines, self.copied.lines, self.copied.size = self.copied.lines, [], 0
        await self._settled()
        if lines:
            self._inserting = asyncio.create_task(self._insert(lines))
        if len(lines) < BATCH_ROWS:
            await self._settled()

    async def _settled(self) -> None:
        if self._inserting is not None:
            task, self._inserting = self._inserting, None
            await task

    async def _insert(self, lines: Sequence[bytes]) -> None:
        """Insert all rows but those that ClickHouse refuses: the sink dead-lettered these, too."""
        pending = [lines]
        while pending:
            part = pending.pop()
            try:
                await self._writer.insert(self.table, part, self._columns())
            except RowsRefusedError:
                if len(part) == 1:
                    self.copied.refused += 1
                    self._leave_out(part[0])
                else:
                    pending.extend(halves(part))
            except UnavailableError as error:
                raise UnreachableError(
                    f"ClickHouse does not take rows: {error}\nThe same call starts over."
                ) from error
            else:
                self.copied.rows += len(part)

    def _leave_out(self, line: bytes) -> None:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            self.copied.unsummed.add(digest(self._kind, line).key)

    def _columns(self) -> list[str] | None:
        """Name the columns where values that are not stored are sent: only then ClickHouse takes them."""
        return ["stored_at", *DEAD_LETTER_COLUMNS] if self._kind is LETTERS else None
