"""Compares dead-letter topics with their table, and collects which events and states are dead letters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.deadletters import DeadLetter, Reason, Stage, parse_headers
from schemas.topics import Topic
from services.operations.audit.core.checksum import letter_checksum, letter_line
from services.operations.database import Database
from services.operations.verify.core import statements
from services.operations.verify.core.report import VerifyFinding
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import LogSnapshot
from services.reconciliation.core.events import Suspect
from services.reconciliation.core.missing_events import erasures, without_erased
from services.reconciliation.core.remedies import DiffKind
from services.runtime.kafka.log_reader import ReadRecords
from services.sink.core.rows import dead_letter_line

LogPosition = tuple[str, int, int]
"""Topic, partition and offset of the original record."""


@dataclass
class DeadLetterIndex:
    """The original records of all dead letters, by what dead-lettered them; `checked` were compared."""

    given_up: set[LogPosition] = field(default_factory=set)
    crashed: set[LogPosition] = field(default_factory=set)
    refused: dict[LogPosition, str] = field(default_factory=dict)
    checked: int = 0

    def note(self, record: Any) -> None:
        """Note the original record of a dead letter."""
        try:
            letter = parse_headers(record.headers)
        except ValueError:
            return
        place = (letter.original_topic, letter.original_partition, letter.original_offset)
        if letter.stage is Stage.SINK:
            self.refused[place] = f"{record.topic}/{record.partition}/{record.offset}"
            return
        self.given_up.add(place)
        if letter.reason == Reason.CRASHED:
            self.crashed.add(place)


class DeadLetterCheck:
    """Compares the table with one dead-letter topic, range by range."""

    def __init__(
        self,
        database: Database,
        snapshot: LogSnapshot,
        selection: VerifySelection,
        topic: Topic,
        letters: DeadLetterIndex,
        kept_since: int = 0,
    ) -> None:
        self._database, self._selection, self._topic, self._letters = database, selection, topic, letters
        self._kept_since = kept_since
        self._log = snapshot.logs[topic.name, 0]
        self._promised = snapshot.stored.get((topic.name, 0), 0)
        self._position = self._log.start

    async def take(self, read: ReadRecords) -> list[VerifyFinding]:
        """Return what differs in a range that was read."""
        start, self._position = self._position, read.position
        rows = await self._database.ask(statements.letters(self._topic.name, start, read.position))
        by_offset = {offset: (tenant, request_id, checksum) for offset, tenant, request_id, checksum in rows}
        findings, missing = [], []
        for record in read.records:
            self._letters.note(record)
            line = letter_line(dead_letter_line(record, self._topic.generation))
            tenant, request_id, checksum = line.tenant, line.request_id, letter_checksum(line)
            row = by_offset.pop(record.offset, None)
            if not self._is_meant(tenant, record.timestamp):
                continue
            self._letters.checked += 1
            if row is None and record.offset < self._promised and record.timestamp >= self._kept_since:
                missing.append(_suspect(record, tenant, request_id))
            elif row is not None and row != (tenant, request_id, checksum):
                findings.append(self._finding(DiffKind.LETTER_CHANGED, tenant, request_id, record.offset))
        return findings + await self._unexcused(missing) + list(self._invented(by_offset))

    async def beyond(self) -> list[VerifyFinding]:
        """Return the rows behind the end of the topic."""
        rows = await self._database.ask(statements.letters(self._topic.name, self._log.end, 2**63))
        return list(
            self._invented({offset: (tenant, request_id, 0) for offset, tenant, request_id, _ in rows})
        )

    async def _unexcused(self, missing: Sequence[Suspect]) -> list[VerifyFinding]:
        if not missing:
            return []
        left = without_erased(missing, await self._database.ask(erasures(missing)))
        return [
            self._finding(DiffKind.LETTER_MISSING, one.tenant, one.request_id, one.offset) for one in left
        ]

    def _invented(self, by_offset: dict[int, tuple[str, str, int]]) -> Iterator[VerifyFinding]:
        if self._selection.has_times:
            return
        for offset, (tenant, request_id, _) in by_offset.items():
            if self._selection.tenant in (None, tenant):
                yield self._finding(DiffKind.LETTER_INVENTED, tenant, request_id, offset)

    def _is_meant(self, tenant: str, timestamp: int) -> bool:
        return self._selection.tenant in (None, tenant) and self._selection.covers(timestamp)

    def _finding(self, kind: DiffKind, tenant: str, request_id: str, offset: int) -> VerifyFinding:
        return VerifyFinding(kind, f"{tenant}/{request_id}".encode(), "", self._topic.name, 0, offset)


def _suspect(record: Any, tenant: str, request_id: str) -> Suspect:
    version = 0
    try:
        letter: DeadLetter = parse_headers(record.headers)
        if letter.stage is Stage.MERGER:
            version = letter.original_version or 0
    except ValueError:
        pass
    return Suspect(
        record.topic, record.partition, record.offset, 0, tenant, request_id, version, record.timestamp
    )
