"""What agrees is left alone at any cut, and whatever is tampered with is found."""

from dataclasses import replace

import orjson
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.identity import version_of
from services.operations.verify.core.evidence import StateRecord, TableEvent
from services.reconciliation.core.ranges import Bits, Ranges
from services.reconciliation.core.remedies import DiffKind
from tests.support.merger.records import logs
from tests.support.operations.consistent_cuts import World, quiet, row_of, rows_of, states_of, worlds

brief = settings(max_examples=15)
"""Each example folds a log several times over."""


@settings(max_examples=40)
@given(worlds())
def test_what_agrees_is_unchanged_whatever_the_cut(world: World) -> None:
    """Also while the merger and the sink continue, each at its own pace."""
    assert world.kinds() == set()


@brief
@given(logs().map(quiet), st.data())
def test_an_event_that_the_table_lacks_is_suspected(world: World, data: st.DataObject) -> None:
    """Whichever it is."""
    assume(world.told)
    gone = world.without("told", data.draw(st.integers(0, len(world.told) - 1)))

    assert gone.kinds() == {"suspect"}


@brief
@given(logs().map(quiet), st.data())
def test_an_event_that_differs_in_the_table_is_found(world: World, data: st.DataObject) -> None:
    """Its body, or its time."""
    assume(world.told)
    index = data.draw(st.integers(0, len(world.told) - 1))
    row = world.told[index]
    digest, received = data.draw(st.sampled_from([(row.digest ^ 1, row.received_us), (row.digest, 1)]))
    other = TableEvent(row.key, row.version, row.partition, row.log_offset, received, digest)

    assert world.changed("told", index, other).kinds() == {DiffKind.EVENT_CHANGED}


@brief
@given(logs().map(quiet), st.integers(0, 40))
def test_an_invented_event_is_found(world: World, offset: int) -> None:
    """Where the log has another one, and where it has none yet."""
    invented = TableEvent(b"default/r9", version_of(0, offset), 0, version_of(0, offset), 0, 1)

    assert replace(world, told=(*world.told, invented)).kinds() == {DiffKind.EVENT_INVENTED}


@brief
@given(logs().map(quiet), st.data())
def test_a_row_that_is_gone_is_found(world: World, data: st.DataObject) -> None:
    """Whichever it is."""
    assume(world.rows)

    assert world.without("rows", data.draw(st.integers(0, len(world.rows) - 1))).kinds() == {
        DiffKind.ROW_MISSING
    }


@brief
@given(logs().map(quiet), st.data())
def test_a_row_that_differs_is_found(world: World, data: st.DataObject) -> None:
    """Under the revision of its state."""
    assume(world.rows)
    index = data.draw(st.integers(0, len(world.rows) - 1))
    name = data.draw(st.sampled_from(["digest", "version", "first_us", "last_us"]))
    row = world.rows[index]
    fields = {one: getattr(row, one) for one in row.__struct_fields__}
    other = type(row)(**{**fields, name: fields[name] ^ 1})

    assert world.changed("rows", index, other).kinds() == {DiffKind.ROW_CHANGED}


@brief
@given(logs().map(quiet), st.data())
def test_an_old_row_is_found(world: World, data: st.DataObject) -> None:
    """What the sink stored before stands where something newer should."""
    latest = {state.key: state for state in world.states}
    old = [state for state in world.states if state is not latest[state.key] and row_of(state) is not None]
    old = [one for one in old if row_of(latest[one.key]) is not None]
    assume(old)
    one = data.draw(st.sampled_from(old))
    others = [row for row in world.rows if row.key != one.key]
    row = row_of(one)
    assert row is not None

    assert replace(world, rows=(*others, row)).kinds() == {DiffKind.ROW_STALE}


@brief
@given(logs().map(quiet), st.integers(0, 40))
def test_a_row_without_a_state_is_found(world: World, offset: int) -> None:
    """Also one behind the end of the log."""
    state = StateRecord(b"default/r9", 0, offset, _LIVE)
    row = row_of(state)
    assert row is not None

    assert replace(world, rows=(*world.rows, row)).kinds() == {DiffKind.ROW_INVENTED}


_LIVE = orjson.dumps(
    {
        "tenant": "default", "request_id": "r9", "version": 1, "first_received_at": "2026-11-22T08:00:00Z",
        "last_received_at": "2026-11-22T08:00:00Z", "sources": ["native"], "data": {}, "request": {},
        "merge": {},
    }
)  # fmt: skip


@brief
@given(logs().map(quiet), st.data())
def test_a_state_that_is_gone_is_found(world: World, data: st.DataObject) -> None:
    """All its records, or a null value over them; the row is taken along, so that nothing else tells."""
    alive = [one for one in {state.key: state for state in world.states}.values() if row_of(one) is not None]
    assume(alive)
    key = data.draw(st.sampled_from(alive)).key
    kept = tuple(state for state in world.states if state.key != key)
    tombstone = StateRecord(key, 0, len(world.states), None)
    states = data.draw(st.sampled_from([kept, (*world.states, tombstone)]))
    tampered = replace(world, states=states, rows=tuple(row for row in world.rows if row.key != key))

    assert tampered.kinds() == {DiffKind.STATE_MISSING}


@brief
@given(logs().map(quiet), st.data())
def test_a_state_that_differs_is_found(world: World, data: st.DataObject) -> None:
    """One more key, and a row that agrees with it."""
    alive = [one for one in {state.key: state for state in world.states}.values() if row_of(one) is not None]
    assume(alive)
    one = data.draw(st.sampled_from(alive))
    fields = orjson.loads(one.value or b"")
    fields["data"]["sneaked"] = "in"
    states = (*world.states, StateRecord(one.key, 0, len(world.states), orjson.dumps(fields)))
    tampered = replace(world, states=states, rows=rows_of(states), rows_stored=len(states))

    assert tampered.kinds() <= {DiffKind.STATE_DIFFERS, DiffKind.NEVER_MERGED}
    assert tampered.kinds()


@brief
@given(logs(), st.data())
def test_events_that_the_merger_was_moved_past_are_found(log: list, data: st.DataObject) -> None:  # type: ignore[type-arg]
    """Whatever came behind them was merged; if they would have changed nothing, nothing is lost."""
    first = data.draw(st.integers(0, len(log)))
    after = data.draw(st.integers(first, len(log)))
    whole, states = quiet(log), states_of([*log[:first], *log[after:]], range(len(log)))
    tampered = replace(whole, states=states, rows=rows_of(states), rows_stored=len(states))
    differs = {state.key: state.value for state in states} != {
        state.key: state.value for state in whole.states
    }

    assert bool(tampered.kinds()) == differs
    assert tampered.kinds() <= {
        DiffKind.NEVER_MERGED,
        DiffKind.STATE_MISSING,
        DiffKind.STATE_DIFFERS,
    }


@brief
@given(st.lists(st.integers(0, 20_000)), st.integers(0, 20_000))
def test_sets_of_offsets_are_sets(offsets: list[int], one: int) -> None:
    """In bits, and in stretches."""
    bits = Bits()
    assert [bits.add(offset) for offset in offsets].count(True) == len(set(offsets))
    assert [*bits.offsets()] == sorted(set(offsets))
    assert bits.count_below(one) == len({offset for offset in offsets if offset < one})
    ranges = Ranges(offsets)
    assert [offset for stretch in ranges for offset in range(*stretch)] == sorted(set(offsets))
    assert len(ranges) == len(set(offsets))
    assert bits.take(one) == (one in offsets)
    assert [*bits.offsets()] == sorted(set(offsets) - {one})
