"""The dead letters: are they all in the table, and what do they say about what else may be missing?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas.deadletters import DeadLetter, Reason, Stage, parse_headers
from schemas.topics import Topic
from services.operations.verify.core import statements
from services.operations.verify.core.report import Finding
from services.operations.verify.core.selection import Selection
from services.operations.verify.core.snapshot import Cut
from services.operations.verify.tables import Tables
from services.reconciliation.core.events import Suspect, half_md5
from services.reconciliation.core.lookups import erasures, without_erased
from services.reconciliation.core.remedies import Kind
from services.runtime.kafka.log_reader import ReadRecords
from services.sink.core.rows import dead_letter_line

Record = tuple[str, int, int]
"""Topic, partition and offset of what was given up."""


@dataclass
class Letters:
    """What the dead letters tell.  `checked` is how many were compared."""

    given_up: set[Record] = field(default_factory=set)
    crashed: set[Record] = field(default_factory=set)
    refused: dict[Record, str] = field(default_factory=dict)
    checked: int = 0

    def note(self, record: Any) -> None:
        """Remember what one is about."""
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


def digest(line: bytes) -> tuple[str, str, int]:
    """Return the owner of a line for the table, and what `statements.LETTER_DIGEST_SQL` gives."""
    row = orjson.loads(line)
    raw = row["raw_base64"]
    parts = (
        row["key_base64"], "null" if raw is None else raw, row.get("stage", ""), row.get("reason", ""),
        str(row.get("original_partition", 0)), str(row.get("original_offset", 0)),
    )  # fmt: skip
    return row["tenant"], row["request_id"], half_md5("\x1f".join(parts).encode())


class LetterCheck:
    """Holds the table to one dead-letter topic, stretch by stretch."""

    def __init__(
        self,
        tables: Tables,
        cut: Cut,
        selection: Selection,
        topic: Topic,
        letters: Letters,
        kept_since: int = 0,
    ) -> None:
        self._tables, self._selection, self._topic, self._letters = tables, selection, topic, letters
        self._kept_since = kept_since
        self._log = cut.logs[topic.name, 0]
        self._promised = cut.stored.get((topic.name, 0), 0)
        self._position = self._log.start

    async def take(self, read: ReadRecords) -> list[Finding]:
        """Return what differs in a stretch."""
        start, self._position = self._position, read.position
        rows = await self._tables.ask(statements.letters(self._topic.name, start, read.position))
        told = {offset: (tenant, request_id, says) for offset, tenant, request_id, says in rows}
        findings, missing = [], []
        for record in read.records:
            self._letters.note(record)
            line = dead_letter_line(record, self._topic.generation)
            tenant, request_id, says = digest(line)
            row = told.pop(record.offset, None)
            if not self._is_meant(tenant, record.timestamp):
                continue
            self._letters.checked += 1
            if row is None and record.offset < self._promised and record.timestamp >= self._kept_since:
                missing.append(_suspect(record, tenant, request_id))
            elif row is not None and row != (tenant, request_id, says):
                findings.append(self._finding(Kind.LETTER_CHANGED, tenant, request_id, record.offset))
        return findings + await self._unexcused(missing) + list(self._invented(told))

    async def beyond(self) -> list[Finding]:
        """Return the rows behind the end of the topic."""
        rows = await self._tables.ask(statements.letters(self._topic.name, self._log.end, 2**63))
        return list(
            self._invented({offset: (tenant, request_id, 0) for offset, tenant, request_id, _ in rows})
        )

    async def _unexcused(self, missing: Sequence[Suspect]) -> list[Finding]:
        if not missing:
            return []
        left = without_erased(missing, await self._tables.ask(erasures(missing)))
        return [self._finding(Kind.LETTER_MISSING, one.tenant, one.request_id, one.offset) for one in left]

    def _invented(self, told: dict[int, tuple[str, str, int]]) -> Iterator[Finding]:
        if self._selection.has_times:
            return
        for offset, (tenant, request_id, _) in told.items():
            if self._selection.tenant in (None, tenant):
                yield self._finding(Kind.LETTER_INVENTED, tenant, request_id, offset)

    def _is_meant(self, tenant: str, timestamp: int) -> bool:
        return self._selection.tenant in (None, tenant) and self._selection.covers(timestamp)

    def _finding(self, kind: Kind, tenant: str, request_id: str, offset: int) -> Finding:
        return Finding(kind, f"{tenant}/{request_id}".encode(), "", self._topic.name, 0, offset)


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
