"""Everything that is known of a run, put together.

Pure.  Feed it in this order, each topic partition by partition, and ask for the verdict at the end:
ledgers and poison, dead letters, events, states (with the stores beside them), tables.
"""

from collections import defaultdict
from collections.abc import Iterable

from chaos.judge import stores
from chaos.judge.bodies import LogRecord, loose_body_of
from chaos.judge.ledgers import Line, LogCheck, Obligations, Poison
from chaos.judge.letters import LetterCheck
from chaos.judge.states import StateLog
from chaos.judge.tables import (
    EventCheck,
    LetterTableCheck,
    RowCheck,
)
from chaos.judge.truth import REFUSED, Became, Truth
from chaos.judge.verdict import Findings, Kind, Verdict, Where
from schemas.topics import Topology

_NEVER_STORED = (Became.MALFORMED, Became.INVALID_REPLAY)


class Case:
    """A run before its judge.  `partitions` are those of the events topic."""

    def __init__(self, topology: Topology, partitions: int) -> None:
        self.topology, self.partitions = topology, partitions
        self.findings, self._owed, self._poison = Findings(), Obligations(), Poison()
        self._letters = LetterCheck(topology.events.name, self.findings)
        self._truth = Truth()
        self._states = StateLog(partitions, self.findings)
        self._log = LogCheck(self._owed, self._poison, topology.events.name, self.findings)
        self.events = EventCheck(topology.generation, self.findings)
        """`feedback_events`, whose rows are to be shown to it."""
        self.rows: RowCheck
        self.letters: LetterTableCheck
        self._copies: dict[int, list[stores.Copy]] = defaultdict(list)
        self._next: dict[int, int] = defaultdict(int)
        self._reached: dict[int, int] = defaultdict(int)
        self._seen = 0

    def ledger(self, line: Line) -> None:
        """Take a line of a writer's ledger."""
        self._owed.add(line)

    def poison(self, line: Line) -> None:
        """Take a line of what faults wrote."""
        self._poison.add(line)

    def letter(self, topic: str, record: LogRecord) -> None:
        """Take a record of a dead-letter topic."""
        if not self._poison.explains(topic, record):
            place = topic, record.partition, record.offset
            self._letters.see(place, record.key, record.value, record.headers)

    def begin_events(self) -> None:
        """Note that all dead letters were read: only they name what was dead-lettered unseen."""
        self._truth = Truth(
            partitions=self.partitions,
            generation=self.topology.generation,
            crashed=self._letters.crashed,
        )

    def event(self, record: LogRecord) -> None:
        """Take the next record of a partition of the events topic."""
        self._seen += 1
        self._follow(record)
        read = self._truth.read(record)
        if read.became in REFUSED:
            self._letters.owe(record)
        self._log.see(record, read.body, read.version)
        body = read.body or loose_body_of(record)
        if body is not None and record.key is not None:
            certain = read.body is not None and read.became not in _NEVER_STORED
            self.events.owe(record.key, read.version, record.offset, body, certain=certain)

    def _follow(self, record: LogRecord) -> None:
        expected, self._next[record.partition] = self._next[record.partition], record.offset + 1
        if record.offset != expected:
            place = f"{self.topology.events.name}/{record.partition}"
            detail = f"offsets {expected} to {record.offset - 1} are missing"
            self.findings.add(Kind.LOST, Where.LOG, place, detail)

    def end_events(self) -> None:
        """Note that the whole log was read."""
        self._log.finish()

    def stores(self, copies: Iterable[stores.Copy]) -> None:
        """Take the copies of the mergers' stores, before the states."""
        for copy in copies:
            self._copies[copy.partition].append(copy)
            self._reached[copy.partition] = max(copy.position or 0, self._reached[copy.partition])

    def state(self, record: LogRecord) -> None:
        """Take the next record of a partition of the state topic."""
        self._pass(record.partition, record.offset)
        if not self._poison.explains(self.topology.state.name, record):
            self._states.see(record.partition, record.offset, record.key, record.value)

    def end_states(self, partition: int, end: int) -> None:
        """Note that a partition of the state topic was read; `end` is its end offset."""
        self._pass(partition, end)
        for copy in self._copies.pop(partition):
            detail = f"{copy.name} stands at {copy.position}, beyond the topic's end at {end}"
            self.findings.add(Kind.WRONG, Where.STORE, f"partition {partition}", detail)
        if self._reached and self._reached[partition] < self._states.ends[partition]:
            self.findings.notes.append(f"no store of partition {partition} reaches the end of its states")

    def _pass(self, partition: int, offset: int) -> None:
        """Compare the stores whose position is at or before an offset."""
        waiting = self._copies[partition]
        if not waiting:
            return
        self._copies[partition] = [copy for copy in waiting if (copy.position or 0) > offset]
        for copy in waiting:
            if (copy.position or 0) <= offset:
                stores.check(copy, self._states.rows_of(partition), self.findings)

    def begin_tables(self) -> None:
        """Note that all states were read."""
        self._states.finish(self._truth)
        self._letters.finish(self._truth.dead, self._poison.wrote)
        self.rows = RowCheck(self._truth, self._states.latest, self.topology.generation, self.findings)
        self.letters = LetterTableCheck(self._letters.letters, self.findings)

    def end_tables(self) -> None:
        """Note that all tables were read."""
        self.rows.finish()
        self.events.finish(self._truth)
        self.letters.finish(self._truth)

    def verdict(self) -> Verdict:
        """Return what was found."""
        return Verdict(
            acknowledged=self._owed.count,
            unknown=self._owed.unknown_count,
            events=self._seen,
            rows=len(self._truth.rows),
            dead_letters=len(self._truth.dead),
            counts=self.findings.counts,
            findings=sorted(self.findings.examples),
            notes=self.findings.notes,
        )
