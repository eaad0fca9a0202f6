"""`afterword verify`, step by step.  The order of the steps is the proof: see the package."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from schemas.identity import event_key, split_version
from schemas.topics import DAY_MS, DEAD_LETTERS_RETENTION_MS, Topic, Topology
from services.operations.audit.core.row_to_event import EventRow, event_of
from services.operations.database import Database
from services.operations.progress import ProgressBar
from services.operations.verify import positions
from services.operations.verify.core import statements
from services.operations.verify.core.compare import compare, is_touched
from services.operations.verify.core.evidence import CompareContext, StateRecord, TableEvent, TableRow
from services.operations.verify.core.report import VerifyFinding, VerifyReport
from services.operations.verify.core.selection import VerifySelection, buckets_for
from services.operations.verify.core.snapshot import LogSnapshot
from services.operations.verify.dead_letters import DeadLetterCheck, DeadLetterIndex
from services.operations.verify.log_walk import LogWalk
from services.operations.verify.settings import VerifySettings
from services.operations.verify.spill import Spill
from services.pipeline.survey import kept_since
from services.reconciliation.core.events import Suspect
from services.reconciliation.core.missing_events import AT_ONCE, missing
from services.reconciliation.core.ranges import Bits, EventsPartition
from services.reconciliation.core.remedies import DiffKind
from services.runtime.kafka.log_reader import OffsetRange, read
from services.sink.core.rows import event_line

_MOST_INVENTED = 10_000
"""Rows without an event whose keys are looked up."""
_FORGET_MS = DEAD_LETTERS_RETENTION_MS
_PAUSE_KEYS = 500
"""Keys judged in one go, between which the bar moves."""

FATAL = frozenset({"topic_missing", "not_recorded", "cluster_differs", "partitions_differ"})
"""Problems with which a comparison would mean nothing."""


@dataclass
class Verification:
    """One run of the command, and its report so far."""

    kafka: VerifySettings
    database: Database
    selection: VerifySelection
    sample: int | None
    now: datetime
    bar: ProgressBar
    report: VerifyReport = field(default_factory=VerifyReport)
    letters: DeadLetterIndex = field(default_factory=DeadLetterIndex)

    async def run(self) -> LogSnapshot:
        """Compare everything, and return the positions that it was compared at."""
        self.bar.begin("Asking for positions", None)
        snapshot = await positions.promised(self.kafka, self.database)
        for problem in snapshot.problems:
            self.report.add_reported(DiffKind.POSITION, problem.text, problem.mend)
        for finding in await positions.topic_settings(self.kafka, snapshot.current):
            self.report.add_reported(DiffKind.TOPIC_SETTING, finding.text, finding.remedy)
        if any(problem.kind in FATAL for problem in snapshot.problems):
            return snapshot
        await positions.settled(self.kafka, snapshot)
        kept_since_ms = await self._kept_since(snapshot.current.events)
        self.selection = replace(await self._sampled(), kept_since_ms=kept_since_ms)
        with Spill(buckets_for(self.selection.share * _offsets(snapshot))) as spill:
            return await self._compare(snapshot, spill)

    @property
    def _now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    async def _kept_since(self, topic: Topic) -> int:
        return int(await kept_since(self.kafka, positions.CLIENT, topic.name, self._now_ms))

    @property
    def _removes_before(self) -> int:
        days = self.kafka.retention_state_days
        return self._now_ms - days * DAY_MS if days else 0

    async def _sampled(self) -> VerifySelection:
        """Return the selection with the share that makes the sample."""
        chosen = self.selection
        if self.sample is None:
            return chosen
        ((keys,),) = await self.database.ask(statements.keys(chosen))
        share = 1.0 if self.sample >= keys else self.sample / keys
        return replace(chosen, share=share)

    async def _compare(self, snapshot: LogSnapshot, spill: Spill) -> LogSnapshot:
        bits = await self._read_tables(spill)
        snapshot = await positions.bounded(self.kafka, snapshot)
        for topic in _letter_topics(snapshot):
            await self._read_letters(snapshot, topic)
        await self._read_states(snapshot, spill)
        walk = LogWalk(snapshot, self.selection, event_line, bits)
        await self._read_events(snapshot, walk, spill)
        begins = await positions.starts(self.kafka, snapshot)
        await self._report_rest(walk, begins)
        await self._read_history(snapshot, begins, spill)
        known = CompareContext(
            snapshot=snapshot, selection=self.selection, render=event_line, given_up=self.letters.given_up,
            crashed=self.letters.crashed, refused=self.letters.refused, gaps=walk.gaps(),
            forgets_before=self._now_ms - _FORGET_MS, removes_before=self._removes_before,
        )  # fmt: skip
        await self._judge(known, spill)
        self.report.counts.update({"events": walk.events, "events_checked": walk.checked})
        self.report.counts["dead_letters"] = self.letters.checked
        return snapshot

    async def _read_tables(self, spill: Spill) -> dict[EventsPartition, Bits]:
        bits: dict[EventsPartition, Bits] = {}
        self.bar.begin("Reading feedback_events", None)
        async for generation, partition, word, found in self.database.stream(
            statements.stored_offsets(self.selection)
        ):
            bits.setdefault(EventsPartition(generation, partition), Bits()).put_word(word, found)
        async for tenant, request_id, *rest in self.database.stream(statements.events(self.selection)):
            spill.put(TableEvent(event_key(tenant, request_id), *rest))
            self.bar.moved(1)
        self.bar.begin("Reading feedback_state", None)
        async for tenant, request_id, *rest in self.database.stream(statements.rows(self.selection)):
            spill.put(TableRow(event_key(tenant, request_id), *rest))
            self.bar.moved(1)
        return bits

    async def _read_letters(self, snapshot: LogSnapshot, topic: Topic) -> None:
        log = snapshot.logs[topic.name, 0]
        self.bar.begin(f"Reading {topic.name}", log.end - log.start)
        kept_since_ms = await self._kept_since(topic)
        check = DeadLetterCheck(self.database, snapshot, self.selection, topic, self.letters, kept_since_ms)
        at = log.start
        async for part in read(
            self.kafka, positions.CLIENT, [topic], [OffsetRange(topic.name, 0, log.start, log.end)]
        ):
            self.report.add(await check.take(part))
            at = self._moved(at, part.position)
        self.report.add(await check.beyond())

    async def _read_states(self, snapshot: LogSnapshot, spill: Spill) -> None:
        topic = snapshot.current.state
        stretches = _stretches(snapshot, topic)
        self.bar.begin(f"Reading {topic.name}", sum(stretch.end - stretch.start for stretch in stretches))
        at = {stretch.partition: stretch.start for stretch in stretches}
        async for part in read(self.kafka, positions.CLIENT, [topic], stretches):
            for record in part.records:
                if record.key is not None and self.selection.takes(record.key):
                    spill.put(StateRecord(record.key, record.partition, record.offset, record.value))
            at[part.partition] = self._moved(at[part.partition], part.position)

    async def _read_events(self, snapshot: LogSnapshot, walk: LogWalk, spill: Spill) -> None:
        for generation in snapshot.here:
            topic = generation.topology.events
            stretches = _stretches(snapshot, topic)
            self.bar.begin(f"Reading {topic.name}", sum(stretch.end - stretch.start for stretch in stretches))
            at = {stretch.partition: stretch.start for stretch in stretches}
            suspects: list[Suspect] = []
            async for part in read(self.kafka, positions.CLIENT, [topic], stretches):
                chosen, more = walk.take(EventsPartition(generation.number, part.partition), part)
                for entry in chosen:
                    spill.put(entry)
                suspects += more
                if len(suspects) >= AT_ONCE:
                    suspects = await self._look_for(suspects)
                at[part.partition] = self._moved(at[part.partition], part.position)
            await self._look_for(suspects)

    async def _look_for(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Report those events that are really missing, and return an empty list for the next ones."""
        found = await missing(self.database.ask, suspects)
        self.report.add(
            VerifyFinding(
                DiffKind.EVENT_MISSING,
                event_key(one.tenant, one.request_id),
                "",
                one.topic,
                one.partition,
                one.offset,
            )
            for one in found
        )
        return []

    async def _report_rest(self, walk: LogWalk, begins: dict[tuple[str, int], int]) -> None:
        """Report rows without an event, and offsets without a record."""
        by_place: dict[EventsPartition, list[int]] = {}
        for count, (place, offset) in enumerate(walk.left()):
            if count < _MOST_INVENTED:
                by_place.setdefault(place, []).append(offset)
            self.report.counts["rows_without_event"] += 1
        for place, offsets in by_place.items():
            await self._report_invented(walk, place, offsets)
        for topic, partition, stretch in walk.hole_ranges(begins):
            self.report.add_stretch(DiffKind.HOLE, topic, partition, stretch, "no record is there")

    async def _report_invented(self, walk: LogWalk, place: EventsPartition, offsets: Sequence[int]) -> None:
        topic = Topology(place.generation).events.name
        log = walk.snapshot.events_log(place)
        for start in range(0, len(offsets), AT_ONCE):
            asked = statements.events_at(place, offsets[start : start + AT_ONCE], self.selection)
            for tenant, request_id, log_offset in await self.database.ask(asked):
                _, offset = split_version(log_offset)
                beyond = log is None or offset >= log.end
                detail = "beyond the log's end" if beyond else "the log has no such event there"
                key = event_key(tenant, request_id)
                self.report.add(
                    [VerifyFinding(DiffKind.EVENT_INVENTED, key, detail, topic, place.partition, offset)]
                )

    async def _read_history(
        self, snapshot: LogSnapshot, begins: dict[tuple[str, int], int], spill: Spill
    ) -> None:
        """Take from the table what the logs no longer have."""
        before: dict[EventsPartition, int | None] = {}
        for generation in snapshot.generations:
            for partition in range(generation.partitions):
                start = (
                    begins.get((generation.topology.events.name, partition), 0)
                    if generation.is_here
                    else None
                )
                if start != 0:
                    before[EventsPartition(generation.number, partition)] = start
        if not before:
            return
        self.bar.begin("Reading older events", None)
        async for row in self.database.stream(statements.history(self.selection, before)):
            spill.put(event_of(EventRow(*row)))
            self.bar.moved(1)

    async def _judge(self, known: CompareContext, spill: Spill) -> None:
        self.bar.begin("Comparing", len(spill))
        for bucket in range(len(spill)):
            suspects: list[Suspect] = []
            for number, evidence in enumerate(spill.evidence(bucket)):
                if not is_touched(evidence, known):
                    continue
                judged = compare(evidence, known)
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


def _offsets(snapshot: LogSnapshot) -> float:
    return sum(log.end - log.start for log in snapshot.logs.values())


def _stretches(snapshot: LogSnapshot, topic: Topic) -> list[OffsetRange]:
    return [
        OffsetRange(*place, log.start, log.end)
        for place, log in snapshot.logs.items()
        if place[0] == topic.name
    ]


def _letter_topics(snapshot: LogSnapshot) -> list[Topic]:
    found = [topic for one in snapshot.here for topic in (one.topology.events_dlq, one.topology.state_dlq)]
    return [topic for topic in found if (topic.name, 0) in snapshot.logs]
