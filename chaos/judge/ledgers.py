"""What the writers are owed, and whether the log of events is what they sent.

Pure.  Each record of the log is explained by one line of a ledger, or by a fault's own poison; what nobody
explains was invented, and what was acknowledged and is not there is lost.
"""

from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chaos.judge.bodies import Body, LogRecord, canonical, digest_of
from chaos.judge.verdict import Findings, Kind, Where

Line = Mapping[str, Any]
"""A line of a ledger, parsed."""


@dataclass(slots=True)
class Owed:
    """An acknowledgement.  `version` is None if Kafka did not return the event's offset."""

    key: str
    version: int | None
    content: bytes
    source: str | None
    met: bool = False


@dataclass(slots=True)
class _Stray:
    event_id: str
    key: bytes
    version: int


@dataclass
class Obligations:
    """All ledgers together."""

    acknowledged: dict[str, list[Owed]] = field(default_factory=lambda: defaultdict(list))
    """By event id."""
    unknown: Counter[bytes] = field(default_factory=Counter)
    """How often each content may be there, by a hash of key and content."""
    nameless: Counter[bytes] = field(default_factory=Counter)
    """Acknowledged without an event id: they must be there."""
    refused: Counter[bytes] = field(default_factory=Counter)
    count: int = 0
    unknown_count: int = 0

    def add(self, line: Line) -> None:
        """Take a line; KeyError or ValueError when it is none."""
        key = f"{line['tenant']}/{line['request_id']}"
        data, request = (canonical(line.get(part)) for part in ("data", "request"))
        content = digest_of(line["op"], data, request)
        named = _named(key.encode(), content)
        match line["outcome"]:
            case "acknowledged":
                self._add_acknowledged(line, key, content, named)
            case "unknown":
                self.unknown[named] += 1
                self.unknown_count += 1
            case "refused":
                self.refused[named] += 1
            case other:
                raise ValueError(f"no outcome: {other!r}")

    def _add_acknowledged(self, line: Line, key: str, content: bytes, named: bytes) -> None:
        self.count += 1
        if line.get("event_id") is None:
            self.nameless[named] += 1
            return
        version = line.get("version")
        owed = Owed(key, None if version is None else int(version), content, line.get("source"))
        self.acknowledged[str(UUID(line["event_id"]))].append(owed)


def _named(key: bytes, content: bytes) -> bytes:
    return digest_of(key.decode(errors="surrogateescape"), content.hex())


@dataclass
class Poison:
    """What faults wrote into the topics themselves."""

    places: set[tuple[str, int, int]] = field(default_factory=set)
    unplaced: Counter[tuple[str, bytes | None, bytes | None]] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Take a line of `poison.ndjson`."""
        topic = line["topic"]
        if line.get("offset") is not None:
            self.places.add((topic, line["partition"], line["offset"]))
            return
        key, value = (None if line.get(part) is None else b64decode(line[part]) for part in ("key", "value"))
        self.unplaced[topic, key, value] += 1

    def wrote(self, topic: str, partition: int, offset: int) -> bool:
        """Return whether a fault wrote what stands there, as far as the topic was read."""
        return (topic, partition, offset) in self.places

    def explains(self, topic: str, record: LogRecord) -> bool:
        """Return whether a fault wrote this record.  What has no known place is used up by one record."""
        if (topic, record.partition, record.offset) in self.places:
            return True
        bytes_of_it = topic, record.key, record.value
        if not self.unplaced[bytes_of_it]:
            return False
        self.unplaced[bytes_of_it] -= 1
        self.places.add((topic, record.partition, record.offset))
        return True


class LogCheck:
    """Holds the log of events to the ledgers, record by record."""

    def __init__(self, owed: Obligations, poison: Poison, topic: str, findings: Findings) -> None:
        self._owed, self._poison, self._topic, self._findings = owed, poison, topic, findings
        self._strays: list[_Stray] = []

    def see(self, record: LogRecord, body: Body | None, version: int) -> None:
        """Explain a record, which stands at `version` if it can be merged."""
        if self._poison.explains(self._topic, record):
            return
        place = f"{self._topic}/{record.partition}@{record.offset}"
        if body is None or record.key is None:
            self._findings.add(Kind.INVENTED, Where.LOG, place, "no event, and no fault wrote it")
        elif not self._meets(body, record.key, version):
            self._explain(body, record.key, version, place)

    def _meets(self, body: Body, key: bytes, version: int) -> bool:
        """Return whether this is what an acknowledgement named."""
        lines = self._owed.acknowledged.get(body.event_id, ())
        owed = next((line for line in lines if not line.met and line.version == version), None)
        owed = owed or next((line for line in lines if not line.met and line.version is None), None)
        if owed is None:
            return False
        owed.met = True
        if (owed.key, owed.content) != (key.decode(), body.content) or owed.source not in (None, body.source):
            self._findings.add(Kind.WRONG, Where.LOG, key, f"version {version} is not what was acknowledged")
        return True

    def _explain(self, body: Body, key: bytes, version: int, place: str) -> None:
        named = _named(key, body.content)
        for may_be in (self._owed.nameless, self._owed.unknown):
            if may_be[named] > 0:
                may_be[named] -= 1
                return
        if body.event_id in self._owed.acknowledged:
            self._strays.append(_Stray(body.event_id, key, version))
        elif self._owed.refused[named]:
            self._findings.add(Kind.INVENTED, Where.LOG, key, f"{place} was refused")
        else:
            self._findings.add(
                Kind.INVENTED, Where.LOG, key, f"{place} was never sent: event {body.event_id}"
            )

    def finish(self) -> None:
        """Report what is missing, once the whole log was read."""
        for stray in self._strays:
            self._settle(stray)
        for event_id, lines in self._owed.acknowledged.items():
            for owed in lines:
                if not owed.met:
                    at = "" if owed.version is None else f" at version {owed.version}"
                    self._findings.add(
                        Kind.LOST, Where.LOG, owed.key, f"event {event_id} was acknowledged{at}"
                    )
        missing = self._owed.nameless.total()
        for _ in range(missing):
            self._findings.add(Kind.LOST, Where.LOG, "?", "an event was acknowledged without an id")

    def _settle(self, stray: _Stray) -> None:
        """An event that stands where nobody said: moved, if the place that was named is empty."""
        owed = next((one for one in self._owed.acknowledged[stray.event_id] if not one.met), None)
        if owed is None:
            detail = f"event {stray.event_id} stands once more, at version {stray.version}"
            self._findings.add(Kind.DUPLICATED, Where.LOG, stray.key, detail)
            return
        owed.met = True
        detail = f"event {stray.event_id} stands at {stray.version}; acknowledged was {owed.version}"
        self._findings.add(Kind.WRONG, Where.LOG, stray.key, detail)


def obligations(lines: Iterable[Line]) -> Obligations:
    """Return the content of the ledgers' lines."""
    owed = Obligations()
    for line in lines:
        owed.add(line)
    return owed
