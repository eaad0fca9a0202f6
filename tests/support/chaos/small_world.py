"""A small world after a run, of plain values: what writers noted, and what topics, stores and tables hold.

It is made by the services' own pure functions, and so without a fault; a test plants one and asks the judge.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from chaos.judge.bodies import microseconds
from chaos.judge.case import Case
from chaos.judge.tables import StoredEvent, StoredLetter, StoredRow
from chaos.judge.verdict import Verdict
from schemas.deadletters import DeadLetter, Stage, headers_of
from schemas.topics import Topology
from services.merger.core.fold import DeadLetterRecord, fold, keys_of
from services.merger.core.state import is_erased
from services.sink.core.rows import event_line
from tests.support.merger.records import SOURCE, ARecord, a_record, an_event
from tests.support.sink.doubles import FakeRecord

EVENTS, LETTERS = "feedback-events", "feedback-events-dlq"
_BATCH = 3
_AT = "2026-11-22T07:59:58.250000Z"
_FAILED_AT = "2026-11-22T09:00:00.000000Z"


def the_log() -> list[ARecord]:
    """Return a log in which everything happens: merges, a retract, an erase, repeats, conflicts, poison."""
    first = an_event(0, data={"rating": 5, "tags": ["a"]}, request={"model": "m"})
    keyed = {"idempotent": True, "event_id": "019a9f6e-0000-8000-8000-00000000000a"}
    records = [
        a_record(0, first),
        a_record(1, an_event(1, data={"rating": None, "ü": 1.5}, source="requesty", item_id="s-1", at=_AT)),
        a_record(2, an_event(2, request_id="r2", data={"a": 2**63})),
        a_record(3, an_event(3, request_id="r2", op="retract")),
        a_record(4, an_event(4, request_id="r3", data={"secret": "x"})),
        a_record(5, an_event(5, request_id="r3", op="erase")),
        a_record(6, an_event(6, request_id="r4", data={"a": 1}, **keyed)),
        a_record(7, an_event(7, request_id="r4", data={"a": 1}, **keyed)),
        a_record(8, an_event(8, request_id="r4", data={"a": 2}, **keyed)),
        ARecord(9, b"default/r1", b"not JSON"),
        a_record(10, an_event(10, data={"rating": 2})),
        a_record(11, an_event(11, request_id="r2", data={"b": True})),
    ]
    # A replay of the poison's place, put right.
    return [*records, a_record(12, an_event(12, data={"tags": []}), replays=9)]


@dataclass
class FakeCopy:
    """A merger's store."""

    stored: dict[bytes, bytes]
    position: int | None
    partition: int = 0
    name: str = "merger/0"

    def rows(self, wanted: Any) -> dict[bytes, bytes]:  # noqa: ARG002 (a real one asks for these)
        """Return every row."""
        return dict(self.stored)


@dataclass
class World:
    """What a run left behind.  Change anything, then ask for the verdict."""

    ledger: list[dict[str, Any]]
    poison: list[dict[str, Any]]
    events: list[ARecord]
    states: list[ARecord]
    letters: list[ARecord]
    store: FakeCopy
    rows: list[StoredRow]
    view: list[tuple[str, str, int]]
    stored_events: list[StoredEvent]
    stored_letters: list[StoredLetter]
    case: Case = field(default_factory=lambda: Case(Topology(), 1))

    def verdict(self) -> Verdict:
        """Return what the judge says."""
        case = self.case
        self._feed(case.ledger, self.ledger)
        self._feed(case.poison, self.poison)
        self._feed(lambda record: case.letter(LETTERS, record), self.letters)
        case.begin_events()
        self._feed(case.event, self.events)
        case.end_events()
        case.stores([self.store])
        self._feed(case.state, self.states)
        case.end_states(0, self.states[-1].offset + 1)
        case.begin_tables()
        self._feed(case.rows.see, self.rows)
        self._feed(lambda row: case.rows.view(*row), self.view)
        self._feed(case.events.see, self.stored_events)
        self._feed(case.letters.see, self.stored_letters)
        case.end_tables()
        return case.verdict()

    @staticmethod
    def _feed(take: Callable[[Any], None], things: list[Any]) -> None:
        for thing in things:
            take(thing)


def a_world(log: list[ARecord] | None = None) -> World:
    """Return the world that a log comes to when nothing fails."""
    log = the_log() if log is None else log
    stored: dict[bytes, bytes] = {}
    states: list[ARecord] = []
    letters: list[ARecord] = []
    for start in range(0, len(log), _BATCH):
        part = log[start : start + _BATCH]
        folded = fold(part, {key: stored.get(key) for key in keys_of(part)}, SOURCE)
        for key, row in folded.rows.items():
            stored[key] = row.value or b""
            states.append(ARecord(len(states), key, row.value))
        letters += [_letter(len(letters) + at, letter) for at, letter in enumerate(folded.letters)]
    rows = [row for row in map(_row, {state.key: state for state in states}.values()) if row is not None]
    return World(
        ledger=[_line(record) for record in log if not record.headers and record.value != b"not JSON"],
        poison=[_poison(record) for record in log if record.headers or record.value == b"not JSON"],
        events=log,
        states=states,
        letters=letters,
        store=FakeCopy(dict(stored), len(states)),
        rows=rows,
        view=[(row.tenant, row.request_id, row.version) for row in rows],
        stored_events=_stored_events(log),
        stored_letters=[_stored_letter(letter) for letter in letters],
    )


def _letter(offset: int, letter: DeadLetterRecord) -> ARecord:
    story = DeadLetter(
        stage=Stage.MERGER,
        reason=letter.reason,
        detail=letter.detail,
        original_topic=EVENTS,
        original_partition=0,
        original_offset=letter.record.offset,
        original_version=letter.version,
        failed_at=_FAILED_AT,
    )
    return ARecord(offset, letter.record.key, letter.record.value, tuple(headers_of(story)))


def _stored_letter(letter: ARecord) -> StoredLetter:
    texts = {name.removeprefix("afterword-"): (value or b"").decode() for name, value in letter.headers}
    return StoredLetter(
        LETTERS,
        0,
        letter.offset,
        texts["stage"],
        texts["reason"],
        texts["original-topic"],
        int(texts["original-partition"]),
        int(texts["original-offset"]),
        int(texts["original-version"]),
        (letter.key or b"").hex(),
        None if letter.value is None else letter.value.hex(),
    )


def _row(record: ARecord) -> StoredRow | None:
    if is_erased(record.value or b""):
        return None
    said = orjson.loads(record.value or b"")
    return StoredRow(
        said["tenant"],
        said["request_id"],
        record.offset,
        said["version"],
        microseconds(datetime.fromisoformat(said["first_received_at"])),
        microseconds(datetime.fromisoformat(said["last_received_at"])),
        said["sources"],
        orjson.dumps(said["data"]).decode(),
        orjson.dumps(said["request"]).decode(),
    )


def _stored_events(log: list[ARecord]) -> list[StoredEvent]:
    rows: dict[tuple[str, int], StoredEvent] = {}
    for record in log:
        placed = FakeRecord(
            record.value, record.key, record.offset, topic=EVENTS, headers=record.headers, partition=0
        )
        if line := event_line(placed, 0):
            said = orjson.loads(line)
            rows[said["request_id"], said["version"]] = StoredEvent(
                said["tenant"],
                said["request_id"],
                said["version"],
                said["log_offset"],
                said["event_id"],
                said["op"],
                said["source"],
                microseconds(datetime.fromisoformat(said["received_at"])),
                int(said["idempotent"]),
                orjson.dumps(said["data"]).decode(),
                orjson.dumps(said["request"]).decode(),
                said.get("item_id", ""),
                microseconds(datetime.fromisoformat(said["at"])) if "at" in said else None,
            )
    return list(rows.values())


def _line(record: ARecord) -> dict[str, Any]:
    said = orjson.loads(record.value or b"")
    return {
        "n": record.offset,
        "tenant": said["tenant"],
        "request_id": said["request_id"],
        "op": said["op"],
        "data": said.get("data"),
        "request": said.get("request"),
        "source": said["source"],
        "outcome": "acknowledged",
        "event_id": said["event_id"],
        "version": str(record.offset),
    }


def _poison(record: ARecord) -> dict[str, Any]:
    return {
        "topic": EVENTS,
        "partition": 0,
        "offset": record.offset,
        "key": b64encode(record.key or b"").decode(),
        "value": b64encode(record.value or b"").decode(),
    }
