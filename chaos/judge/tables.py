"""ClickHouse's tables against the truth.

Pure.  Rows of `feedback_state` and `feedback` are those of the log, with the revision that their state has;
`feedback_events` and `dead_letters` hold each record of their topics and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chaos.judge.bodies import Body, canonical, digest_of, object_text, value_of
from chaos.judge.letters import Letter, LetterPlace
from chaos.judge.states import Latest
from chaos.judge.truth import NEVER, Shown, Truth
from chaos.judge.verdict import Findings, Kind, Where


class StoredRow(NamedTuple):
    """A row of `feedback_state FINAL`; times in microseconds, `data` and `request` as JSON text."""

    tenant: str
    request_id: str
    revision: int
    version: int
    first: int
    last: int
    sources: list[str]
    data: str
    request: str


class StoredEvent(NamedTuple):
    """A row of `feedback_events FINAL`."""

    tenant: str
    request_id: str
    version: int
    log_offset: int
    event_id: str
    op: str
    source: str
    received: int
    idempotent: int
    data: str
    request: str
    item_id: str = ""
    at: int | None = None


class StoredLetter(NamedTuple):
    """A row of `dead_letters FINAL`; key and value in hexadecimal digits."""

    dlq_topic: str
    dlq_partition: int
    dlq_offset: int
    stage: str
    reason: str
    original_topic: str
    original_partition: int
    original_offset: int
    original_version: int | None
    key: str
    raw: str | None


class RowCheck:
    """`feedback_state`, and the view on it."""

    def __init__(
        self, truth: Truth, latest: Mapping[bytes, Latest], generation: int, findings: Findings
    ) -> None:
        self._latest, self._base, self._findings = latest, generation << 48, findings
        self._rows = {key: row for key, row in truth.rows.items() if not row.is_deleted}
        self._seen: set[bytes] = set()
        self._viewed: set[bytes] = set()

    def see(self, row: StoredRow) -> None:
        """Take a row of the table, as FINAL shows it."""
        key = f"{row.tenant}/{row.request_id}".encode()
        if key in self._seen:
            self._findings.add(Kind.DUPLICATED, Where.ROW, key, "two rows")
        self._seen.add(key)
        if (must := self._rows.get(key)) is None:
            self._findings.add(Kind.INVENTED, Where.ROW, key, "a row of which the log has nothing")
            return
        shown = Shown(
            row.version,
            row.first,
            row.last,
            tuple(row.sources),
            canonical(value_of(row.data)),
            canonical(value_of(row.request)),
        )
        if row.version < must.version:
            detail = f"stands at version {row.version}; the log makes it {must.version}"
            self._findings.add(Kind.LOST, Where.ROW, key, detail)
        elif shown != must.shown():
            self._findings.add(Kind.WRONG, Where.ROW, key, f"{shown}; the log makes it {must.shown()}")
        elif key in self._latest and row.revision != self._base | self._latest[key].offset:
            detail = f"revision {row.revision}; its state stands at {self._latest[key].offset}"
            self._findings.add(Kind.WRONG, Where.ROW, key, detail)

    def view(self, tenant: str, request_id: str, version: int) -> None:
        """Take a row of the view."""
        key = f"{tenant}/{request_id}".encode()
        must = self._rows.get(key)
        if key in self._viewed:
            self._findings.add(Kind.DUPLICATED, Where.VIEW, key, "two rows")
        elif must is None:
            self._findings.add(Kind.INVENTED, Where.VIEW, key, "a row of which the log has nothing")
        elif must.version != version:
            detail = f"stands at version {version}; the log makes it {must.version}"
            self._findings.add(Kind.LOST, Where.VIEW, key, detail)
        self._viewed.add(key)

    def finish(self) -> None:
        """Report missing rows."""
        for seen, where in ((self._seen, Where.ROW), (self._viewed, Where.VIEW)):
            for key in self._rows.keys() - seen:
                detail = f"no row; the log makes it version {self._rows[key].version}"
                self._findings.add(Kind.LOST, where, key, detail)


@dataclass(slots=True)
class _Owed:
    offset: int
    content: bytes
    certain: bool
    met: bool = False


class EventCheck:
    """`feedback_events`: each event at its version."""

    def __init__(self, generation: int, findings: Findings) -> None:
        self._base, self._findings = generation << 48, findings
        self._owed: dict[tuple[bytes, int], _Owed] = {}

    def owe(self, key: bytes, version: int, offset: int, body: Body, *, certain: bool) -> None:
        """Take note of an event; one that cannot be merged may be there (not `certain`).

        Of rows at the same version, the last one counts.
        """
        own = self._base | offset
        received = str(body.received), str(int(body.idempotent)), body.item_id, str(body.at)
        parts = object_text(body.data or {}), object_text(body.request or {})
        content = digest_of(body.event_id, body.op, body.source, *received, *parts)
        before = self._owed.get((key, version))
        if before is None or before.offset < own:
            self._owed[key, version] = _Owed(own, content, certain)

    def see(self, row: StoredEvent) -> None:
        """Take a row of the table, as FINAL shows it."""
        key = f"{row.tenant}/{row.request_id}".encode()
        owed = self._owed.get((key, row.version))
        if owed is None:
            detail = f"event {row.event_id} at version {row.version}: the log has none there"
            self._findings.add(Kind.INVENTED, Where.EVENTS, key, detail)
            return
        if owed.met:
            self._findings.add(Kind.DUPLICATED, Where.EVENTS, key, f"version {row.version} twice")
        owed.met = True
        received = str(row.received), str(row.idempotent), row.item_id, str(row.at)
        parts = canonical(value_of(row.data)), canonical(value_of(row.request))
        content = digest_of(row.event_id, row.op, row.source, *received, *parts)
        if (content, row.log_offset) != (owed.content, owed.offset):
            detail = f"version {row.version} is not the event that the log has there"
            self._findings.add(Kind.WRONG, Where.EVENTS, key, detail)

    def finish(self, truth: Truth) -> None:
        """Report missing events, but those that were erased."""
        for (key, version), owed in self._owed.items():
            row = truth.rows.get(key)
            erased = NEVER if row is None else row.erased
            if owed.certain and not owed.met and version > erased:
                self._findings.add(Kind.LOST, Where.EVENTS, key, f"no event at version {version}")


def letter_row(place: LetterPlace, letter: Letter) -> StoredLetter:
    """Return the row that a dead letter must be, without key and value."""
    story = letter.story
    return StoredLetter(
        *place,
        story.stage.value,
        story.reason.value,
        story.original_topic,
        story.original_partition,
        story.original_offset,
        story.original_version,
        key="",
        raw=None,
    )


class LetterTableCheck:
    """`dead_letters`: each record of the dead-letter topics."""

    def __init__(self, letters: Mapping[LetterPlace, Letter], findings: Findings) -> None:
        self._owed, self._findings = letters, findings
        self._seen: set[LetterPlace] = set()

    def see(self, row: StoredLetter) -> None:
        """Take a row of the table, as FINAL shows it."""
        place = row.dlq_topic, row.dlq_partition, row.dlq_offset
        if place in self._seen:
            self._findings.add(Kind.DUPLICATED, Where.LETTERS, str(place), "two rows")
        self._seen.add(place)
        letter = self._owed.get(place)
        if letter is None:
            self._findings.add(Kind.INVENTED, Where.LETTERS, str(place), "its topic has none there")
            return
        raw = "-" if row.raw is None else "+" + row.raw
        # The table has no null keys.
        carries = [digest_of(key, raw) for key in ("+" + row.key, *(["-"] if not row.key else []))]
        if row._replace(key="", raw=None) != letter_row(place, letter) or letter.carries not in carries:
            self._findings.add(Kind.WRONG, Where.LETTERS, str(place), "is not what its topic has there")

    def finish(self, truth: Truth) -> None:
        """Report missing dead letters, but those of what was erased."""
        for place in self._owed.keys() - self._seen:
            letter = self._owed[place]
            row = truth.rows.get(letter.key or b"")
            if row is None or row.erased < (letter.story.original_version or 0):
                self._findings.add(Kind.LOST, Where.LETTERS, str(place), "no row")
