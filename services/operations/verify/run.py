"""The command, step by step.  The order of the steps is the proof: see the package."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from schemas.identity import event_key, split_version
from schemas.topics import DAY_MS, DEAD_LETTERS_RETENTION_MS, Topic, Topology
from services.operations.audit.core.row_to_event import EventRow, event_of
from services.operations.progress import Bar
from services.operations.verify import positions
from services.operations.verify.core import statements
from services.operations.verify.core.compare import is_touched, judge
from services.operations.verify.core.evidence import Known, StateRecord, TableEvent, TableRow
from services.operations.verify.core.report import Finding, Report
from services.operations.verify.core.selection import Selection, buckets_for
from services.operations.verify.core.snapshot import Cut
from services.operations.verify.dead_letters import LetterCheck, Letters
from services.operations.verify.settings import VerifySettings
from services.operations.verify.spill import Spill
from services.operations.verify.tables import Tables
from services.operations.verify.walk import Walk
from services.reconciliation.core.events import Suspect
from services.reconciliation.core.lookups import AT_ONCE, missing
from services.reconciliation.core.ranges import Bits, Place
from services.reconciliation.core.remedies import Kind
from services.runtime.kafka.log_reader import OffsetRange, read
from services.sink.core.rows import event_line

_MOST_INVENTED = 10_000
"""Rows without an event that are looked at by name."""
_FORGET_MS = DEAD_LETTERS_RETENTION_MS
_PAUSE_KEYS = 500
"""Keys judged in one go, between which the bar moves."""

FATAL = frozenset({"topic_missing", "not_recorded", "cluster_differs", "partitions_differ"})
"""Problems with which a comparison would mean nothing."""


@dataclass
class Verification:
    """One call: what it asks, and what it has found so far."""

    kafka: VerifySettings
    tables: Tables
    database: str
    selection: Selection
    sample: int | None
    now: datetime
    bar: Bar
    report: Report = field(default_factory=Report)
    letters: Letters = field(default_factory=Letters)

    async def run(self) -> Cut:
        """Compare everything; the cut that it was compared at."""
        self.bar.begin("Asking for positions", None)
        cut = await positions.promised(self.kafka, self.tables, self.database)
        for problem in cut.problems:
            self.report.add_told(Kind.POSITION, problem.text, problem.mend)
        for finding in await positions.topic_settings(self.kafka, cut.current):
            self.report.add_told(Kind.TOPIC_SETTING, finding.text, finding.mend)
        if any(problem.kind in FATAL for problem in cut.problems):
            return cut
        await positions.settled(self.kafka, cut)
        kept_since = await positions.kept_since(self.kafka, cut.current.events.name, self._now_ms)
        self.selection = replace(await self._sampled(), kept_since_ms=kept_since)
        with Spill(buckets_for(self.selection.share * _offsets(cut))) as spill:
            return await self._compare(cut, spill)

    @property
    def _now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    @property
    def _removes_before(self) -> int:
        days = self.kafka.retention_state_days
        return self._now_ms - days * DAY_MS if days else 0

    async def _sampled(self) -> Selection:
        """Return the selection with the share that makes the sample."""
        chosen = self.selection
        if self.sample is None:
            return chosen
        ((keys,),) = await self.tables.ask(statements.keys(chosen))
        share = 1.0 if self.sample >= keys else self.sample / keys
        return replace(chosen, share=share)

    async def _compare(self, cut: Cut, spill: Spill) -> Cut:
        bits = await self._read_tables(spill)
        cut = await positions.bounded(self.kafka, cut)
        for topic in _letter_topics(cut):
            await self._read_letters(cut, topic)
        await self._read_states(cut, spill)
        walk = Walk(cut, self.selection, event_line, bits)
        await self._read_events(cut, walk, spill)
        begins = await positions.starts(self.kafka, cut)
        await self._tell_rest(walk, begins)
        await self._read_history(cut, begins, spill)
        known = Known(
            cut=cut, selection=self.selection, render=event_line, given_up=self.letters.given_up,
            crashed=self.letters.crashed, refused=self.letters.refused, gaps=walk.gaps(),
            forgets_before=self._now_ms - _FORGET_MS, removes_before=self._removes_before,
        )  # fmt: skip
        await self._judge(known, spill)
        self.report.counts.update({"events": walk.events, "events_checked": walk.checked})
        self.report.counts["dead_letters"] = self.letters.checked
        return cut

    async def _read_tables(self, spill: Spill) -> dict[Place, Bits]:
        bits: dict[Place, Bits] = {}
        self.bar.begin("Reading feedback_events", None)
        async for generation, partition, word, found in self.tables.stream(
            statements.stored_offsets(self.selection)
        ):
            bits.setdefault(Place(generation, partition), Bits()).put_word(word, found)
        async for tenant, request_id, *rest in self.tables.stream(statements.events(self.selection)):
            spill.put(TableEvent(event_key(tenant, request_id), *rest))
            self.bar.moved(1)
        self.bar.begin("Reading feedback_state", None)
        async for tenant, request_id, *rest in self.tables.stream(statements.rows(self.selection)):
            spill.put(TableRow(event_key(tenant, request_id), *rest))
            self.bar.moved(1)
        return bits

    async def _read_letters(self, cut: Cut, topic: Topic) -> None:
        log = cut.logs[topic.name, 0]
        self.bar.begin(f"Reading {topic.name}", log.end - log.start)
        kept_since = await positions.kept_since(self.kafka, topic.name, self._now_ms)
        check = LetterCheck(self.tables, cut, self.selection, topic, self.letters, kept_since)
        at = log.start
        async for part in read(
            self.kafka, positions.CLIENT, [topic], [OffsetRange(topic.name, 0, log.start, log.end)]
        ):
            self.report.add(await check.take(part))
            at = self._moved(at, part.position)
        self.report.add(await check.beyond())

    async def _read_states(self, cut: Cut, spill: Spill) -> None:
        topic = cut.current.state
        stretches = _stretches(cut, topic)
        self.bar.begin(f"Reading {topic.name}", sum(one.end - one.start for one in stretches))
        at = {one.partition: one.start for one in stretches}
        async for part in read(self.kafka, positions.CLIENT, [topic], stretches):
            for record in part.records:
                if record.key is not None and self.selection.takes(record.key):
                    spill.put(StateRecord(record.key, record.partition, record.offset, record.value))
            at[part.partition] = self._moved(at[part.partition], part.position)

    async def _read_events(self, cut: Cut, walk: Walk, spill: Spill) -> None:
        for generation in cut.here:
            topic = generation.topology.events
            stretches = _stretches(cut, topic)
            self.bar.begin(f"Reading {topic.name}", sum(one.end - one.start for one in stretches))
            at = {one.partition: one.start for one in stretches}
            suspects: list[Suspect] = []
            async for part in read(self.kafka, positions.CLIENT, [topic], stretches):
                chosen, more = walk.take(Place(generation.number, part.partition), part)
                for entry in chosen:
                    spill.put(entry)
                suspects += more
                if len(suspects) >= AT_ONCE:
                    suspects = await self._look_for(suspects)
                at[part.partition] = self._moved(at[part.partition], part.position)
            await self._look_for(suspects)

    async def _look_for(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Report those events that are missing indeed; none are left to look for."""
        found = await missing(self.tables.ask, suspects)
        self.report.add(
            Finding(
                Kind.EVENT_MISSING,
                event_key(one.tenant, one.request_id),
                "",
                one.topic,
                one.partition,
                one.offset,
            )
            for one in found
        )
        return []

    async def _tell_rest(self, walk: Walk, begins: dict[tuple[str, int], int]) -> None:
        """Report rows without an event, and offsets without a record."""
        by_place: dict[Place, list[int]] = {}
        for count, (place, offset) in enumerate(walk.left()):
            if count < _MOST_INVENTED:
                by_place.setdefault(place, []).append(offset)
            self.report.counts["rows_without_event"] += 1
        for place, offsets in by_place.items():
            await self._tell_invented(walk, place, offsets)
        for topic, partition, stretch in walk.holes_told(begins):
            self.report.add_stretch(Kind.HOLE, topic, partition, stretch, "no record lies there")

    async def _tell_invented(self, walk: Walk, place: Place, offsets: Sequence[int]) -> None:
        topic = Topology(place.generation).events.name
        log = walk.cut.events_log(place)
        for start in range(0, len(offsets), AT_ONCE):
            asked = statements.events_at(place, offsets[start : start + AT_ONCE], self.selection)
            for tenant, request_id, log_offset in await self.tables.ask(asked):
                _, offset = split_version(log_offset)
                beyond = log is None or offset >= log.end
                detail = "beyond the log's end" if beyond else "the log has no such event there"
                key = event_key(tenant, request_id)
                self.report.add([Finding(Kind.EVENT_INVENTED, key, detail, topic, place.partition, offset)])

    async def _read_history(self, cut: Cut, begins: dict[tuple[str, int], int], spill: Spill) -> None:
        """Take from the table what the logs no longer have."""
        before: dict[Place, int | None] = {}
        for one in cut.generations:
            for partition in range(one.partitions):
                start = begins.get((one.topology.events.name, partition), 0) if one.is_here else None
                if start != 0:
                    before[Place(one.number, partition)] = start
        if not before:
            return
        self.bar.begin("Reading older events", None)
        async for row in self.tables.stream(statements.history(self.selection, before)):
            spill.put(event_of(EventRow(*row)))
            self.bar.moved(1)

    async def _judge(self, known: Known, spill: Spill) -> None:
        self.bar.begin("Comparing", len(spill))
        for bucket in range(len(spill)):
            suspects: list[Suspect] = []
            for number, evidence in enumerate(spill.evidence(bucket)):
                if not is_touched(evidence, known):
                    continue
                judged = judge(evidence, known)
                self.report.add(judged.findings)
                self.report.counts["keys"] += 1
                self.report.counts["unproven"] += judged.unproven
                self.report.counts["events_compared"] += judged.events
                suspects += judged.suspects
                if number % _PAUSE_KEYS == 0:
                    await asyncio.sleep(0)
            await self._look_for(suspects)
            self.bar.moved(1)

    def _moved(self, before: int, after: int) -> int:
        self.bar.moved(max(0, after - before))
        return max(before, after)


def _offsets(cut: Cut) -> float:
    return sum(log.end - log.start for log in cut.logs.values())


def _stretches(cut: Cut, topic: Topic) -> list[OffsetRange]:
    return [
        OffsetRange(*place, log.start, log.end) for place, log in cut.logs.items() if place[0] == topic.name
    ]


def _letter_topics(cut: Cut) -> list[Topic]:
    found = [topic for one in cut.here for topic in (one.topology.events_dlq, one.topology.state_dlq)]
    return [topic for topic in found if (topic.name, 0) in cut.logs]
