"""Dead letters as text, tables and JSON: a list, one in full, and the plan of a replay."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from rich.markup import escape
from rich.table import Table

from schemas import deadletters
from schemas.deadletters import Reason
from services.operations.dlq.core.dead_letter import DeadLetterContent, StoredDeadLetter, advice
from services.operations.dlq.core.decisions import Decision, InsertRow, PlannedReplay, SendEvent, SkipReplay

MOST_HEX_BYTES = 4096
_DETAIL_CHARACTERS = 60
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Return a text without control characters, since clients wrote it."""
    return _CONTROL.sub("\ufffd", text)


def instant(moment: datetime | None) -> str:
    """Return a time in UTC as text."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def listed(letters: Sequence[StoredDeadLetter]) -> Table:
    """Return the dead letters as a table."""
    table = Table("id", "failed", "stage", "reason", "tenant", "request", "state", "detail", box=None)
    table.header_style = "bold"
    for letter in letters:
        cells = (
            str(letter.id), instant(letter.failed_at), letter.stage, letter.reason,
            letter.tenant, letter.request_id, letter.state,
            _cut(letter.detail),
        )  # fmt: skip
        table.add_row(*(escape(plain(cell)) for cell in cells))
    for column in table.columns:
        column.no_wrap = True
    return table


def _cut(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= _DETAIL_CHARACTERS else line[: _DETAIL_CHARACTERS - 1] + "…"


def as_json(letter: StoredDeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON; the version is a string, since it may exceed 2^53."""
    version = letter.original_version
    return {
        "id": str(letter.id),
        "state": letter.state,
        **{name: getattr(letter, name) for name in _NAMES},
        "original_version": None if version is None else str(version),
        "corrected": letter.corrected,
    }


_NAMES = (
    "tenant", "request_id", "stage", "reason", "detail", "original_topic", "original_partition",
    "original_offset", "size", "failed_at", "replayed_at", "dropped_at",
)  # fmt: skip


def whole_as_json(letter: StoredDeadLetter, content: DeadLetterContent, decision: Decision) -> dict[str, Any]:
    """Return everything about a dead letter as JSON; bytes that are not UTF-8 in hex."""
    known = advice(letter.reason)
    return {
        **as_json(letter),
        "meaning": known.meaning,
        "to_do": known.to_do,
        "replay": outcome(decision),
        **_value("key", content.key),
        **_value("value", content.value),
        **_value("correction", content.correction),
    }


def _value(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_hex": (value or b"").hex()}


def whole(letter: StoredDeadLetter, content: DeadLetterContent, decision: Decision) -> str:
    """Return everything about a dead letter as text."""
    known = advice(letter.reason)
    fields = [
        ("state", _state(letter)),
        ("failed", f"{instant(letter.failed_at)} in the {letter.stage or 'unknown stage'}"),
        ("reason", f"{letter.reason or 'unknown'}: {known.meaning}"),
        ("detail", letter.detail),
        ("request", f"{letter.request_id} of tenant {letter.tenant}" if letter.tenant else "unknown"),
        ("offset", _position(letter)),
        ("to do", known.to_do),
        ("replay", outcome(decision)),
    ]
    lines = [str(letter.id), *(f"  {name:<9}{plain(text)}" for name, text in fields)]
    careful = letter.reason == Reason.CRASHED
    lines += ["headers", *(f"  {name}: {plain(text)}" for name, text in _headers(letter))]
    lines += [*_body("key", content.key, careful=True), *_body("value", content.value, careful=careful)]
    if content.correction is not None:
        lines += _body("correction", content.correction, careful=False)
    return "\n".join(lines)


def _state(letter: StoredDeadLetter) -> str:
    since = letter.replayed_at or letter.dropped_at
    return f"{letter.state} since {instant(since)}" if since else letter.state


def _position(letter: StoredDeadLetter) -> str:
    if letter.original_version is None:
        return "unknown"
    place = f"{letter.original_topic}/{letter.original_partition}/{letter.original_offset}"
    return f"{place}, version {letter.original_version}"


def _headers(letter: StoredDeadLetter) -> list[tuple[str, str]]:
    if not letter.stage:
        return []
    version = letter.original_version
    return [
        (deadletters.STAGE, letter.stage),
        (deadletters.REASON, letter.reason),
        (deadletters.DETAIL, letter.detail),
        (deadletters.ORIGINAL_TOPIC, letter.original_topic),
        (deadletters.ORIGINAL_PARTITION, str(letter.original_partition)),
        (deadletters.ORIGINAL_OFFSET, str(letter.original_offset)),
        (deadletters.ORIGINAL_VERSION, "" if version is None else str(version)),
        (deadletters.FAILED_AT, letter.failed_at.isoformat()),
    ]


def _body(name: str, value: bytes | None, *, careful: bool) -> list[str]:
    """Return the lines of a value: as JSON if it is valid, else as text or hex.

    With `careful` it is not parsed: it crashed a process.
    """
    if value is None:
        return [f"{name}: null"]
    shown = None if careful else _pretty(value)
    kind, text = ("JSON", shown) if shown is not None else _text_or_hex(value)
    return [f"{name} ({len(value):,} bytes, {kind})", *(f"  {line}" for line in text.splitlines())]


def _pretty(value: bytes) -> str | None:
    try:
        return plain(orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode())
    except orjson.JSONDecodeError:
        return None


def _text_or_hex(value: bytes) -> tuple[str, str]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "hex", dump(value)
    return ("text", text) if not _CONTROL.search(text) else ("hex", dump(value))


def dump(value: bytes) -> str:
    """Return a hex dump of the first MOST_HEX_BYTES; `show --raw` writes all of it."""
    lines = []
    for start in range(0, min(len(value), MOST_HEX_BYTES), 16):
        row = value[start : start + 16]
        seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{start:06x}  {row.hex(' '):<47}  {seen}")
    if len(value) > MOST_HEX_BYTES:
        lines.append(f"… {len(value) - MOST_HEX_BYTES:,} more bytes; --raw writes all of them")
    return "\n".join(lines)


def outcome(decision: Decision) -> str:
    """Return what a replay does, as a sentence."""
    match decision:
        case SendEvent():
            note = f"; {decision.note}" if decision.note else ""
            return f"is sent to the events topic, partition {decision.partition}, with its version{note}"
        case InsertRow():
            return f"is inserted into {decision.table} with its revision"
        case SkipReplay():
            return f"is skipped: {decision.why}"


class ReplaySummary:
    """The plan of a replay: counts by outcome, and the first few dead letters."""

    def __init__(self, most_shown: int = 20) -> None:
        self.outcomes: Counter[str] = Counter()
        self.first: list[str] = []
        self.skipped = 0
        self._most = most_shown

    @property
    def total(self) -> int:
        """The number of selected dead letters."""
        return self.outcomes.total()

    @property
    def doable(self) -> int:
        """The number of dead letters to replay."""
        return self.total - self.skipped

    def add(self, batch: Iterable[PlannedReplay]) -> None:
        """Add a batch."""
        for one in batch:
            text = outcome(one.decision)
            self.outcomes[_kind(one.decision)] += 1
            self.skipped += isinstance(one.decision, SkipReplay)
            if len(self.first) < self._most:
                self.first.append(f"{one.letter.id}  {plain(one.letter.reason)}  {plain(text)}")

    def lines(self) -> list[str]:
        """Return the plan as lines."""
        more = self.total - len(self.first)
        return [*self.first, *([f"… and {more:,} more"] if more > 0 else []), self.summary()]

    def summary(self) -> str:
        """Return the counts as a sentence."""
        kinds = sorted(self.outcomes, key=lambda kind: (kind == _SKIPPED, kind))
        counted = [f"{self.outcomes[kind]:,} {kind}" for kind in kinds]
        return ", ".join(counted) or "nothing is selected"


def _kind(decision: Decision) -> str:
    match decision:
        case SendEvent():
            return "to the events topic"
        case InsertRow():
            return f"to {decision.table}"
        case SkipReplay():
            return _SKIPPED


_SKIPPED = "skipped"
