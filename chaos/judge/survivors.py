"""What must have survived when Kafka lost a log: rows against ledgers, whatever became of the offsets.

Pure.  The writers send events that add (see `chaos.additive`), so an event is in its row or it is not.
An acknowledged event may be gone if it existed only in what a fault took away, which the fault found out by
looking everywhere else; each of these is counted and named.

    {"event_id": "0199...", "fault": "tail cut events"}

is a line of `taken.ndjson`, which names them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chaos.judge.bodies import text_of, value_of
from chaos.judge.ledgers import Line
from chaos.judge.tables import StoredRow
from chaos.judge.verdict import Findings, Kind, Verdict, Where

_PARTS = ("data", "request")
Name = tuple[str, str]
"""`data` or `request`, and the name of a field in it."""


@dataclass(slots=True)
class _Sent:
    """A value of a field.  `certain`: it was acknowledged, and did not go with a log that was taken away."""

    text: str
    certain: bool
    event_id: str | None


@dataclass(slots=True)
class _Request:
    fields: dict[Name, list[_Sent]] = field(default_factory=lambda: defaultdict(list))
    erases: list[bool] = field(default_factory=list)
    """Whether each erasure is certain."""


class Survival:
    """Feed it `taken`, then the ledgers, then the tables, and ask for the verdict."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.gone: list[str] = []
        """Event ids that were acknowledged and went with a log, in the order of the ledgers."""
        self._taken: set[str] = set()
        self._requests: dict[bytes, _Request] = defaultdict(_Request)
        self._acknowledged: dict[str, bytes] = {}
        self._counts = {"acknowledged": 0, "unknown": 0, "refused": 0}
        self._rows = 0
        self._seen: set[bytes] = set()
        self._events: set[str] = set()

    def taken(self, line: Line) -> None:
        """Take an event that existed only in what a fault took away."""
        self._taken.add(str(UUID(line["event_id"])))

    def ledger(self, line: Line) -> None:
        """Take a line of a writer's ledger; KeyError or ValueError when it is none."""
        outcome = line["outcome"]
        self._counts[outcome] += 1
        if outcome == "refused":
            return
        key = f"{line['tenant']}/{line['request_id']}".encode()
        event_id = None if line.get("event_id") is None else str(UUID(line["event_id"]))
        certain = outcome == "acknowledged" and event_id not in self._taken
        if outcome == "acknowledged" and event_id is not None:
            self._acknowledged[event_id] = key
        request = self._requests[key]
        if line["op"] == "erase":
            request.erases.append(certain)
        for name, value in _fields(line.get):
            request.fields[name].append(_Sent(text_of(value), certain, event_id))

    def row(self, row: StoredRow) -> None:
        """Take a row of `feedback_state FINAL`."""
        key = f"{row.tenant}/{row.request_id}".encode()
        if key in self._seen:
            self.findings.add(Kind.DUPLICATED, Where.ROW, key, "two rows")
            return
        self._seen.add(key)
        self._rows += 1
        if (request := self._requests.get(key)) is None:
            self.findings.add(Kind.INVENTED, Where.ROW, key, "a row of a request that was never sent")
            return
        parts = {"data": value_of(row.data), "request": value_of(row.request)}
        shown = {name: text_of(value) for name, value in _fields(parts.get)}
        self._compare(key, request, shown)

    def event(self, event_id: str) -> None:
        """Take the id of an event in `feedback_events FINAL`."""
        self._events.add(str(UUID(event_id)))

    def verdict(self) -> Verdict:
        """Return what was found, once everything was taken."""
        for key in self._requests.keys() - self._seen:
            self._compare(key, self._requests[key], {})
        for event_id, key in self._acknowledged.items():
            if event_id in self._events or event_id in self._taken or self._requests[key].erases:
                continue
            self.findings.add(Kind.LOST, Where.EVENTS, key, f"event {event_id} was acknowledged")
        self.gone.sort()
        return Verdict(
            acknowledged=self._counts["acknowledged"],
            unknown=self._counts["unknown"],
            events=len(self._events),
            rows=self._rows,
            dead_letters=0,
            counts=self.findings.counts,
            findings=sorted(self.findings.examples),
            notes=self.findings.notes,
            gone=tuple(self.gone),
        )

    def _compare(self, key: bytes, request: _Request, shown: Mapping[Name, str]) -> None:
        for name in shown.keys() - request.fields.keys():
            detail = f"{'.'.join(name)} is {shown[name]}, which was never sent"
            self.findings.add(Kind.INVENTED, Where.ROW, key, detail)
        for name, sent in request.fields.items():
            self._field(key, request, name, sent, shown.get(name))

    def _field(self, key: bytes, request: _Request, name: Name, sent: list[_Sent], shown: str | None) -> None:
        certain = [one.text for one in sent if one.certain]
        doubtful = {one.text for one in sent if not one.certain}
        if shown is None:
            gone = [one.event_id for one in sent if one.event_id in self._taken]
            if certain and not request.erases:
                detail = f"{'.'.join(name)} is missing; acknowledged was {certain[-1]}"
                self.findings.add(Kind.LOST, Where.ROW, key, detail)
            elif not any(request.erases):
                self.gone += [one for one in gone if one and one not in self.gone]
        elif any(request.erases) and shown not in doubtful:
            self.findings.add(Kind.WRONG, Where.ROW, key, f"{'.'.join(name)} was erased, and is {shown}")
        elif certain and shown != certain[-1] and shown not in doubtful:
            detail = f"{'.'.join(name)} is {shown}; the last one acknowledged is {certain[-1]}"
            self.findings.add(Kind.REGRESSED if shown in certain else Kind.INVENTED, Where.ROW, key, detail)
        elif not certain and shown not in doubtful:
            detail = f"{'.'.join(name)} is {shown}, which was never sent"
            self.findings.add(Kind.INVENTED, Where.ROW, key, detail)


def _fields(get: Any) -> Iterator[tuple[Name, Any]]:
    for part in _PARTS:
        for field_name, value in (get(part) or {}).items():
            yield (part, field_name), value
