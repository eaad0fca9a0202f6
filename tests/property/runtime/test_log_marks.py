"""Whatever becomes of a log: a mark never accuses the log it is from, and never lets another one pass.

Logs are invented: appended to (with markers of transactions, which no reader sees), cut, put back, compacted,
and deleted from the start by retention.
"""

from dataclasses import dataclass, field, replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.pipeline.core.continuity import (
    BEYOND,
    DIFFERS,
    ContinuityFacts,
    HeldPosition,
    LogRange,
    misplaced,
    to_look_at,
)
from services.runtime.kafka.core.log_mark import LogMark, mark_at, newer, parse

TOPIC = "log"


@dataclass(frozen=True)
class Log:
    """A partition: `records` by offset, whose value names the append; `lost`: appended, and cut off again."""

    records: dict[int, int] = field(default_factory=dict)
    start: int = 0
    end: int = 0

    def mark(self, offset: int) -> LogMark:
        """Return the mark of a record."""
        return mark_at(offset, b"k", b"%d" % self.records[offset])

    def first_from(self, offset: int) -> LogMark | None:
        """Return what a reader who begins at an offset sees first."""
        found = min((record for record in self.records if record >= max(offset, self.start)), default=None)
        return None if found is None else self.mark(found)


def kinds(log: Log, position: HeldPosition, *, compacted: bool) -> list[str]:
    """Return what is wrong with a position in a log."""
    ranges = {(TOPIC, 0): LogRange(log.start, log.end)}
    facts = ContinuityFacts(
        service="sink",
        generation=0,
        cluster_id="",
        recorded=None,
        paired=(),
        log=ranges,
        positions=[position],
        found={spot: log.first_from(spot[2]) for spot in to_look_at([position], ranges)},
        compacted=frozenset({TOPIC} if compacted else ()),
    )
    return [problem.kind for problem in misplaced(facts)]


class Logs(RuleBasedStateMachine):
    """One log, a reader with a position and a mark, and an earlier copy of the log."""

    is_compacted = False

    def __init__(self) -> None:
        super().__init__()
        self.log = self.copy = Log()
        self.appends = count()
        self.position = HeldPosition("reader", TOPIC, 0, 0)
        self.read: dict[int, int] = {}
        """What the reader has read, by offset."""

    @rule(size=st.integers(1, 5), marker=st.integers(0, 1))
    def append(self, size: int, marker: int) -> None:
        """Append a batch, and perhaps the marker of its transaction."""
        records = {self.log.end + n: next(self.appends) for n in range(size)}
        self.log = replace(self.log, records=self.log.records | records, end=self.log.end + size + marker)

    @rule(share=st.floats(0, 1))
    def advance(self, share: float) -> None:
        """Read on, a part or to the end, unless the position is refused."""
        if kinds(self.log, self.position, compacted=self.is_compacted):
            return
        start = self.position.offset
        until = start + round(share * (self.log.end - start))
        new = {offset: value for offset, value in self.log.records.items() if start <= offset < until}
        self.read |= new
        mark = newer(self.position.mark, *(self.log.mark(offset) for offset in new))
        self.position = replace(self.position, offset=max(until, self.log.start), mark=mark)

    @rule()
    def back_up(self) -> None:
        """Keep a copy."""
        self.copy = self.log

    @rule()
    def restore(self) -> None:
        """Put the copy back."""
        self.log = self.copy

    @rule(offset=st.integers(0, 40))
    def cut(self, offset: int) -> None:
        """Lose the end."""
        end = max(self.log.start, min(offset, self.log.end))
        kept = {one: value for one, value in self.log.records.items() if one < end}
        self.log = replace(self.log, records=kept, end=end)

    @rule(offset=st.integers(0, 40))
    def retain(self, offset: int) -> None:
        """Delete from the start, never what was not read."""
        start = max(self.log.start, min(offset, self.log.end, self.position.offset))
        kept = {one: value for one, value in self.log.records.items() if one >= start}
        self.log = replace(self.log, records=kept, start=start)

    @precondition(lambda self: self.is_compacted)
    @rule(gone=st.sets(st.integers(0, 40)))
    def compact(self, gone: set[int]) -> None:
        """Delete records from anywhere but the end."""
        kept = {
            one: value
            for one, value in self.log.records.items()
            if one not in gone or one == max(self.log.records)
        }
        self.log = replace(self.log, records=kept)

    @invariant()
    def a_log_that_has_what_was_read_is_never_refused(self) -> None:
        """Everything that was read is there, or was deleted in order."""
        is_same = self.log.end >= self.position.offset and all(
            self.log.records.get(offset, value) == value for offset, value in self.read.items()
        )
        missing = any(offset >= self.log.start and offset not in self.log.records for offset in self.read)
        if is_same and (self.is_compacted or not missing):
            assert kinds(self.log, self.position, compacted=self.is_compacted) == []

    @invariant()
    def a_log_without_the_newest_record_that_was_read_is_refused(self) -> None:
        """Unless retention or compaction may have deleted it."""
        mark = self.position.mark
        if mark is None or mark.offset < self.log.start:
            return
        value = self.log.records.get(mark.offset)
        if value is None and self.is_compacted:
            return
        if value != self.read[mark.offset]:
            assert kinds(self.log, self.position, compacted=self.is_compacted) in ([BEYOND], [DIFFERS])


class CompactedLogs(Logs):
    """The same with compaction."""

    is_compacted = True


TestLogs = Logs.TestCase
TestCompactedLogs = CompactedLogs.TestCase


@given(st.integers(0, 2**63 - 1), st.none() | st.binary(), st.none() | st.binary())
def test_a_mark_is_read_back_as_it_was_written(offset: int, key: bytes | None, value: bytes | None) -> None:
    """It travels as text."""
    mark = mark_at(offset, key, value)

    assert parse(str(mark)) == mark


@given(st.text())
def test_what_another_program_wrote_as_metadata_is_no_mark(text: str) -> None:
    """It is no error either, unless it happens to look like one."""
    mark = parse(text)

    assert mark is None or str(mark).lstrip("0") == text.lstrip("0") or text.startswith("0")


def test_keys_and_values_do_not_run_into_each_other() -> None:
    """Nothing and an empty text are two things."""
    pairs = [(None, None), (b"", None), (None, b""), (b"", b""), (b"a", b"b"), (b"ab", b""), (b"", b"ab")]

    assert len({mark_at(0, key, value) for key, value in pairs}) == len(pairs)
