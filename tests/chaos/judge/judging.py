"""The whole judgement, in its order: ledgers, dead letters, events, states and stores, tables."""

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.topics import Topology
from services.runtime.clickhouse import connect
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.chaos.judge import stores, topics, warehouse
from tests.chaos.judge.bodies import loose_body_of
from tests.chaos.judge.ledgers import LogCheck, Obligations, Poison
from tests.chaos.judge.letters import LetterCheck
from tests.chaos.judge.states import StateLog
from tests.chaos.judge.tables import (
    EventCheck,
    LetterTableCheck,
    RowCheck,
    StoredEvent,
    StoredLetter,
    StoredRow,
)
from tests.chaos.judge.truth import REFUSED, Became, Truth
from tests.chaos.judge.verdict import Findings, Kind, Verdict, Where

POISON = "poison.ndjson"
_NEVER_STORED = (Became.MALFORMED, Became.INVALID_REPLAY)
_PATIENCE_SECONDS = 300.0


async def judge(
    ledger_directory: Path,
    kafka: KafkaSettings,
    clickhouse: ClickHouseSettings,
    merger_homes: Sequence[Path],
) -> Verdict:
    """Return what is amiss after a run; the errors of Kafka's and ClickHouse's clients when they are away."""
    case = Case(kafka)
    await asyncio.to_thread(case.read_ledgers, ledger_directory)
    await case.read_letters()
    await case.read_events()
    with tempfile.TemporaryDirectory() as directory:
        await case.read_states(merger_homes, Path(directory))
    await case.read_tables(clickhouse)
    return case.verdict()


def lines_of(path: Path) -> Iterator[Any]:
    """Yield the lines of a ledger; the last one may be cut short, by a writer that was killed."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


class Case:
    """What is known so far.  Read everything in the order of the methods, then ask for the verdict."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka, self._topology = kafka, Topology(kafka.kafka_topic_generation)
        self.findings, self._owed, self._poison = Findings(), Obligations(), Poison()
        self._letters = LetterCheck(self._topology.events.name, self.findings)
        self._stored_events = EventCheck(self._topology.generation, self.findings)
        self._truth = Truth()
        self._states = StateLog(1, self.findings)
        self._events = 0

    def read_ledgers(self, directory: Path) -> None:
        """Read what the writers were told, and what faults wrote."""
        for path in sorted(directory.glob("*.ndjson")):
            take = self._poison.add if path.name == POISON else self._owed.add
            for line in lines_of(path):
                take(line)

    async def read_letters(self) -> None:
        """Read the dead letters first: only they say what was given up unseen."""
        for topic in (self._topology.events_dlq.name, self._topology.state_dlq.name):
            async for records in topics.read(self._kafka, topic, 0, committed=True):
                for one in records:
                    if not self._poison.explains(topic, one):
                        self._letters.see((topic, 0, one.offset), one.key, one.value, one.headers)

    async def read_events(self) -> None:
        """Fold the log, and hold it to the ledgers."""
        name, generation = self._topology.events.name, self._topology.generation
        count = await topics.partitions_of(self._kafka, name)
        self._truth = Truth(partitions=count, generation=generation, crashed=self._letters.crashed)
        self._states = StateLog(count, self.findings)
        log = LogCheck(self._owed, self._poison, name, self.findings)
        for partition in range(count):
            expected = 0
            async for records in topics.read(self._kafka, name, partition, committed=False):
                if records[0].offset != expected:
                    self._miss(partition, expected, records[0].offset)
                expected = records[-1].offset + 1
                for one in records:
                    self._take_event(one, log)
        log.finish()

    def _miss(self, partition: int, expected: int, found: int) -> None:
        place = f"{self._topology.events.name}/{partition}"
        self.findings.add(Kind.LOST, Where.LOG, place, f"offsets {expected} to {found - 1} are missing")

    def _take_event(self, record: Any, log: LogCheck) -> None:
        self._events += 1
        read = self._truth.read(record)
        if read.became in REFUSED:
            self._letters.owe(record)
        log.see(record, read.body, read.version)
        body = read.body or loose_body_of(record)
        if body is not None:
            certain = read.body is not None and read.became not in _NEVER_STORED
            self._stored_events.owe(record.key, read.version, record.offset, body, certain=certain)

    async def read_states(self, merger_homes: Sequence[Path], to: Path) -> None:
        """Follow every row along the state topic, and compare each store as it is passed."""
        generation = self._topology.generation
        copies = await asyncio.to_thread(stores.copies_of, merger_homes, generation, to, self.findings)
        by_partition: dict[int, list[stores.Copy]] = defaultdict(list)
        for copy in copies:
            by_partition[copy.partition].append(copy)
        for partition in range(self._states.partitions):
            await self._read_states(partition, by_partition[partition])
        for copy in copies:
            copy.close()
        self._states.finish(self._truth)

    async def _read_states(self, partition: int, copies: list[stores.Copy]) -> None:
        topic, end = self._topology.state.name, 0
        waiting = sorted(copies, key=lambda copy: copy.position or 0)
        async for records in topics.read(self._kafka, topic, partition, committed=True):
            for one in records:
                while waiting and (waiting[0].position or 0) <= one.offset:
                    self._compare(waiting.pop(0))
                if not self._poison.explains(topic, one):
                    self._states.see(partition, one.offset, one.key, one.value)
                end = one.offset + 1
        for copy in waiting:
            self._compare(copy)
        if copies and max(copy.position or 0 for copy in copies) < end:
            self.findings.notes.append(f"no store of partition {partition} reaches the end of its states")

    def _compare(self, copy: stores.Copy) -> None:
        stores.check(copy, self._states.rows_of(copy.partition), self.findings)

    async def read_tables(self, settings: ClickHouseSettings) -> None:
        """Compare ClickHouse's tables."""
        client = await connect(settings, timeout_seconds=_PATIENCE_SECONDS)
        rows = RowCheck(self._truth, self._states.latest, self._topology.generation, self.findings)
        letters = LetterTableCheck(self._letters.letters, self.findings)
        try:
            async for row in warehouse.rows(client, warehouse.ROWS):
                rows.see(StoredRow(*row))
            async for row in warehouse.rows(client, warehouse.VIEW):
                rows.view(*row)
            async for row in warehouse.rows(client, warehouse.EVENTS):
                self._stored_events.see(StoredEvent(*row))
            async for row in warehouse.rows(client, warehouse.LETTERS):
                letters.see(StoredLetter(*row))
        finally:
            await client.close()
        rows.finish()
        self._stored_events.finish(self._truth)
        letters.finish(self._truth)
        self._letters.finish(self._truth.dead, self._poison.wrote)

    def verdict(self) -> Verdict:
        """Return what was found."""
        return Verdict(
            acknowledged=self._owed.count,
            unknown=self._owed.unknown_count,
            events=self._events,
            rows=len(self._truth.rows),
            dead_letters=len(self._truth.dead),
            counts=self.findings.counts,
            findings=self.findings.examples,
            notes=self.findings.notes,
        )
