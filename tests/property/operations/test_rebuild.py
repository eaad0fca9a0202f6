"""The pure parts of `afterword rebuild`: what is left to do, what rows sum up to, what events come to."""

from datetime import datetime
from typing import Any

import msgspec
import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.identity import version_of
from services.merger.core.fold import fold
from services.merger.core.state import NEVER
from services.operations.audit.core.expected_state import FoldContext, folded_rows
from services.operations.audit.core.joined_state import joined
from services.operations.audit.core.row_to_event import EventRow, event_of
from services.operations.core.system_tables import LiveTable
from services.operations.rebuild.core.checksum import ChecksumTally, RowDigest, TableSum
from services.operations.rebuild.core.compare import StateVerdict, VersionBounds, is_like, judge
from services.operations.rebuild.core.plan import DONE_BEFORE, CleanupStep, next_step
from services.operations.rebuild.core.scope import STATE, TopicRange
from services.operations.rebuild.core.statements import BUILDING, FEEDS, GATE
from services.operations.rebuild.repair import is_wrong
from services.reconciliation.core.events import microseconds
from services.sink.core.rows import event_line
from tests.support.merger.records import SOURCE, ARecord, a_record, an_event, logs

CONTEXT = FoldContext(partitions={0: 1})


class Tables:
    """The tables of one kind, which statements change one at a time."""

    def __init__(self) -> None:
        self.found: dict[str, LiveTable] = {STATE.table: LiveTable("old", "real", "")}

    def do(self, act: str) -> None:
        """Do what one statement of a rebuild does."""
        found = self.found
        match act:
            case "scratch":
                found[STATE.scratch] = LiveTable("new", "real")
            case "label":
                found[STATE.scratch] = LiveTable("new", BUILDING)
            case "rename":
                found[STATE.shadow] = found.pop(STATE.scratch)
            case "feed":
                found[STATE.feed] = LiveTable("feed", FEEDS + "new")
            case "gate":
                found[STATE.table] = LiveTable("old", "real", GATE)
            case "comment":
                found[STATE.shadow] = LiveTable("new", "real")
            case "swap":
                found[STATE.table], found[STATE.shadow] = found[STATE.shadow], found[STATE.table]

    def carry_out(self, step: CleanupStep) -> None:
        """Do what a step of the cleaning does."""
        found, kept = self.found, STATE.kept
        match step:
            case CleanupStep.OPEN_GATE:
                found[STATE.table] = LiveTable(found[STATE.table].uuid, "real")
            case CleanupStep.MARK:
                found[STATE.shadow] = LiveTable(found[STATE.shadow].uuid, BUILDING)
            case CleanupStep.DROP_FEED | CleanupStep.FINISH:
                del found[STATE.feed]
            case CleanupStep.DROP_SHADOW:
                del found[STATE.shadow]
            case CleanupStep.DROP_SCRATCH:
                del found[STATE.scratch]
            case CleanupStep.KEEP:
                found[kept] = found.pop(STATE.shadow)


WAY = ("scratch", "label", "rename", "feed", "gate", "comment", "swap")


@given(st.lists(st.tuples(st.integers(0, len(WAY)), st.integers(0, 6)), max_size=5))
def test_a_rebuild_that_is_interrupted_anywhere_is_put_right(kills: list[tuple[int, int]]) -> None:
    """However often it dies, on its way or while it cleans, the live table is whole, and nothing is left."""
    tables = Tables()
    for way, cleaning in kills:
        for _ in range(cleaning):
            if (step := next_step(STATE, tables.found)) is None:
                break
            tables.carry_out(step)
        if next_step(STATE, tables.found) is not None:
            continue
        if tables.found[STATE.table].uuid == "new":
            tables = Tables()
        for act in WAY[:way]:
            tables.do(act)
    swapped, done = tables.found[STATE.table].uuid == "new", False
    while (step := next_step(STATE, tables.found)) is not None:
        tables.carry_out(step)
        done = done or step in DONE_BEFORE
    assert tables.found[STATE.table] == LiveTable("new" if swapped else "old", "real")
    assert set(tables.found) - {STATE.table, STATE.kept} == set()
    if STATE.kept in tables.found:
        assert tables.found[STATE.kept].uuid == "old"
    assert not done or swapped


ENTRIES = st.builds(RowDigest, st.sampled_from("abcdef"), st.integers(0, 5), st.integers(0, 2**64 - 1))


@settings(max_examples=30)
@given(st.lists(ENTRIES, max_size=40), st.sets(st.sampled_from("abcdef")))
def test_a_tally_counts_the_latest_of_each_key(entries: list[RowDigest], without: set[str]) -> None:
    """The highest order counts, the last of equal ones; hidden rows and those left out count nothing."""
    latest: dict[str, RowDigest] = {}
    for one in entries:
        if one.key not in latest or one.order >= latest[one.key].order:
            latest[one.key] = one
    shown = [one.digest for key, one in latest.items() if key not in without and one.digest]
    with ChecksumTally() as tally:
        for one in entries:
            tally.add(one)
        assert tally.total(without) == TableSum(len(shown), sum(shown) % 2**64)
        assert tally.total(without) == TableSum(len(shown), sum(shown) % 2**64)


def rows_of(records: list[ARecord]) -> dict[bytes, list[EventRow]]:
    """Return the events of each request as ClickHouse has them: the highest place at each version counts."""
    found: dict[tuple[bytes, int], EventRow] = {}
    for record in records:
        line = event_line(_placed(record), 0)
        if line is None:
            continue
        # As ClickHouse keeps them: both parts are columns of text, which hold the bytes of the line.
        row: dict[str, Any] = orjson.loads(line)
        text = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        own = {name: row[name] for name in EventRow._fields if name in row}
        made = EventRow(
            **{
                **own,
                "partition": 0,
                "received_us": microseconds(datetime.fromisoformat(row["received_at"])),
                "appended_ms": record.timestamp,
                "at_us": microseconds(datetime.fromisoformat(row["at"])) if "at" in row else None,
                "data": bytes(text["data"]).decode(),
                "request": bytes(text["request"]).decode(),
            }
        )
        found[record.key or b"", made.version] = made
    by_key: dict[bytes, list[EventRow]] = {}
    for (key, _), one in found.items():
        by_key.setdefault(key, []).append(one)
    return by_key


class _placed:  # noqa: N801 (a record with a topic)
    def __init__(self, record: ARecord) -> None:
        self.topic, self.record = "feedback-events", record

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)


@settings(max_examples=30)
@example([a_record(0, an_event(data={"a": 5.960464477539063e-08, "b": 1e16}))])
@given(logs())
def test_events_in_clickhouse_yield_the_mergers_states(records: list[ARecord]) -> None:
    """Wherever no place was replayed: a table has one record of a place, and the merger saw both."""
    records = [record for record in records if not record.headers]
    states = fold(records, {}, SOURCE).rows
    for key, rows in rows_of(records).items():
        should = folded_rows(rows, CONTEXT)
        found = states[key].value if key in states else None
        verdict = judge(
            found, should, [row.version for row in rows], NEVER, VersionBounds(0, version_of(0, 99))
        )
        assert verdict is StateVerdict.SAME


@settings(max_examples=30)
@given(logs())
def test_an_event_that_is_rebuilt_from_its_row_becomes_the_same_row(records: list[ARecord]) -> None:
    """Also its item id and the time it was given, as far as the table has them."""
    for rows in rows_of(records).values():
        rebuilt = [event_of(row) for row in rows]
        written = [
            ARecord(one.offset, one.key, one.value, tuple(one.headers), one.timestamp) for one in rebuilt
        ]
        assert rows_of(written) == {rebuilt[0].key: rows}


@settings(max_examples=30)
@given(logs(), st.integers(0, 30))
def test_what_is_erased_stays_erased(records: list[ARecord], upto: int) -> None:
    """Events up to the erasure add nothing, whether they are known or not."""
    for rows in rows_of(records).values():
        whole = folded_rows(rows, CONTEXT, upto)
        later = [row for row in rows if row.version > upto]
        if later and whole is not None and not any(row.log_offset != row.version for row in rows):
            rest = folded_rows(later, CONTEXT, upto)
            assert rest is not None
            assert judge(rest.value, whole, range(31), upto, VersionBounds(0, 99)) is StateVerdict.SAME


@given(st.integers(0, 3), st.integers(0, 20), st.integers(0, 20), st.integers(0, 10))
def test_only_rows_that_the_log_cannot_have_are_wrong(
    generation: int, offset: int, read: int, more: int
) -> None:
    """What came after the reading is right, up to the log's end; of a log that is gone, all is."""
    row = {
        "tenant": "acme",
        "request_id": "r1",
        "place": version_of(generation, offset),
        "part": 0,
        "topic": "",
    }
    before, now = TopicRange("t", 2, (0,), (read,)), TopicRange("t", 2, (0,), (read + more,))
    expected = generation > 2 or (generation == 2 and not read <= offset < read + more)
    assert is_wrong(STATE, row, [before], [now]) is expected


def test_a_record_is_missing_damaged_or_rests_on_events_that_are_gone() -> None:
    """Each is distinguished, and only what the events explain is written anew."""
    row = EventRow(
        tenant="acme", request_id="r1", version=5, log_offset=5, partition=0, op="merge", source="native",
        event_id="019a9f6e-0000-7000-8000-000000000001", received_us=1_795_334_400_000_001,
        appended_ms=1, idempotent=False, data='{"rating":5}', request="{}",
    )  # fmt: skip
    should, other = folded_rows([row], CONTEXT), folded_rows([row._replace(data='{"rating":1}')], CONTEXT)
    beyond = folded_rows([row, row._replace(version=50, log_offset=50)], CONTEXT)
    bounds = VersionBounds(0, 10)
    assert should is not None
    assert other is not None
    assert beyond is not None
    assert judge(None, should, [5], NEVER, bounds) is StateVerdict.MISSING
    assert judge(b'{"tenant":1}', should, [5], NEVER, bounds) is StateVerdict.DAMAGED
    assert judge(other.value, should, [5], NEVER, bounds) is StateVerdict.DIFFERS
    assert judge(beyond.value, should, [5], NEVER, bounds) is StateVerdict.DIFFERS
    gone = folded_rows([row._replace(version=2, log_offset=2, data='{"comment":"x"}'), row], CONTEXT)
    assert gone is not None
    assert judge(gone.value, should, [5], NEVER, bounds) is StateVerdict.INCOMPLETE
    assert judge(b'{"tenant":1}', None, [], NEVER, bounds) is StateVerdict.LOST
    more = folded_rows([row._replace(data='{"rating":5,"lost":1}')], CONTEXT)
    assert more is not None
    assert judge(more.value, should, [5], NEVER, bounds) is StateVerdict.INCOMPLETE
    alone = folded_rows([row._replace(version=2, log_offset=2, data='{"comment":"x"}')], CONTEXT)
    assert alone is not None
    assert judge(alone.value, should, [5], NEVER, bounds) is StateVerdict.LACKING
    both = joined(alone.value, should.value)
    assert judge(both, should, [5], NEVER, bounds) is StateVerdict.INCOMPLETE
    assert is_like(both, gone.value)
    erased = folded_rows([row], CONTEXT, erased=7)
    assert erased is not None
    assert judge(None, erased, [5], 7, VersionBounds(8, 10)) is StateVerdict.SAME
    assert judge(None, erased, [5], 7, VersionBounds(0, 10)) is StateVerdict.MISSING
