"""A log that is merged record by record, and what the sink stores of it: the truth about outcomes.

The merger's own fold says what became of each record; the sink's own functions say what of it is stored.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from schemas.deadletters import DeadLetter, Stage, headers_of
from services.merger.core.admission import LIMITS, Outcome, RowLimits
from services.merger.core.fold import DeadLetterRecord, fold
from services.query.reads.core.history import generation_of
from services.sink.core.rows import dead_letter_line, event_line
from tests.support.merger.records import SOURCE, ARecord

TOPIC, LETTERS_TOPIC = "feedback-events", "feedback-events-dlq"
STORED_AT = "2026-11-22T09:00:00.000000Z"


@dataclass
class Merged:
    """Everything that the log of one partition came to.  Rows are as ClickHouse gives them to readers."""

    limits: RowLimits = LIMITS
    states: dict[bytes, bytes] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By offset."""
    refused: list[ARecord] = field(default_factory=list)
    events: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    """By request id and version: a replay takes the place of what it repeats."""
    letters: list[dict[str, Any]] = field(default_factory=list)
    length: int = 0

    def append(self, record: ARecord, *, crashed: bool = False) -> Outcome:
        """Append a record, whose offset is the log's length, and return what became of it."""
        crashes = frozenset({record.offset}) if crashed else frozenset()
        folded = fold([record], self.states, SOURCE, crashes, self.limits)
        self.length = record.offset + 1
        self.states |= {key: row.value for key, row in folded.rows.items()}
        (outcome,) = (outcome for outcome, count in folded.outcomes.items() if count)
        self.outcomes[record.offset] = outcome
        for letter in folded.letters:
            self.refused.append(record)
            self.letters.append(_letter_row(letter))
        if line := event_line(_Record(record), 0):
            row = _event_row(line)
            self.events[row["request_id"], row["version"]] = row
        return outcome

    def events_of(self, request_id: str) -> list[dict[str, Any]]:
        """Return the stored events of a request, in no order that matters."""
        return [row for (owner, _), row in self.events.items() if owner == request_id]

    def letters_of(self, request_id: str) -> list[dict[str, Any]]:
        """Return the stored dead letters of a request."""
        return [row for row in self.letters if row["request_id"] == request_id]

    def state(self, request_id: str) -> dict[str, Any] | None:
        """Return the row of a request as it is visible: none after an erase."""
        state = self.states.get(f"default/{request_id}".encode())
        found = None if state is None else json.loads(state)
        return None if found is None or found.get("is_deleted") else found


class _Record:
    """A record with the names that the sink uses."""

    def __init__(self, record: ARecord, topic: str = TOPIC) -> None:
        self.topic, self.partition, self.offset = topic, record.partition, record.offset
        self.timestamp, self.key, self.value = record.timestamp, record.key, record.value
        self.headers = [(name, value or b"") for name, value in record.headers]


def _event_row(line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line)
    for part in ("data", "request"):
        row[f"{part}_keys"] = [
            [key, "" if value is None else json.dumps(value, sort_keys=True)]
            for key, value in row[part].items()
        ]
        row[part] = json.dumps(row[part])
    return row


def _letter_row(letter: DeadLetterRecord) -> dict[str, Any]:
    story = DeadLetter(
        stage=Stage.MERGER,
        reason=letter.reason,
        detail=letter.detail,
        original_topic=TOPIC,
        original_partition=0,
        original_offset=letter.record.offset,
        original_version=letter.version,
        failed_at=STORED_AT,
    )
    record = ARecord(0, letter.record.key, letter.record.value, tuple(headers_of(story)))
    row: dict[str, Any] = json.loads(dead_letter_line(_Record(record, LETTERS_TOPIC), 0))
    assert generation_of(row["original_topic"]) == 0
    return {**row, "replayed_at": None, "row_version": 0}
