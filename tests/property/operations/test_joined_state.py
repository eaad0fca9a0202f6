"""A state from several sources: whatever one lacks another may have, and the merge's law decides."""

import msgspec
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from schemas.identity import split_key
from services.merger.core import state as states
from services.merger.core.fold import fold
from services.merger.core.state import NEVER
from services.operations.audit.core.joined_state import StateRow, lifted
from tests.support.merger.records import SOURCE, ARecord, a_record, an_event, logs

PARTS = ("data", "request")


def merged(records: list[ARecord]) -> dict[bytes, bytes]:
    """Return the states that a log comes to."""
    return {key: row.value for key, row in fold(records, {}, SOURCE).rows.items()}


def essence(value: bytes | None) -> bytes:
    """Return what counts of a state: not which record was read last, nor how a body was hashed."""
    state = states.decode(value or b"")
    state.merge.read = NEVER
    state.merge.recent = [(known[0], known[1], "") for known in state.merge.recent]
    return states.encode(state)


def contents(value: bytes | None) -> bytes:
    """Return the same without times and sources: what was erased takes its own along in a whole log alone."""
    state = states.decode(value or b"")
    state.first_received_at = state.last_received_at = None
    state.sources = []
    return essence(states.encode(state))


def row_of(value: bytes) -> StateRow | None:
    """Return the row that the table has of a state."""
    if states.is_erased(value):
        return None
    body = orjson.loads(value)
    return StateRow(
        body["version"],
        body["first_received_at"] or "1970-01-01T00:00:00.000000Z",
        body["last_received_at"] or "1970-01-01T00:00:00.000000Z",
        body["sources"],
        *(bytes(msgspec.json.decode(value, type=dict[str, Raw])[part]).decode() for part in PARTS),
    )


@settings(max_examples=30)
@given(logs(), st.data())
def test_parts_of_a_log_add_up_to_the_whole(records: list[ARecord], data: st.DataObject) -> None:
    """Any two halves, each merged by itself, in either order: the same state as of the whole log."""
    records = [
        record for record in records if not record.headers and b'"idempotent"' not in (record.value or b"")
    ]
    first = data.draw(st.sets(st.integers(0, 30)))
    one = merged([record for record in records if record.offset in first])
    other = merged([record for record in records if record.offset not in first])
    for key, whole in merged(records).items():
        for sources in ([one.get(key), other.get(key)], [other.get(key), one.get(key)]):
            found = lifted(*split_key(key), sources, None, NEVER)
            assert contents(found) == contents(whole)


@settings(max_examples=30)
@given(logs())
def test_a_row_and_an_older_record_add_nothing_to_what_all_events_yield(records: list[ARecord]) -> None:
    """So a state that is made from several sources is the one that `verify` expects."""
    for key, whole in merged(records).items():
        older = merged(records[: len(records) // 2]).get(key)
        found = lifted(*split_key(key), [older, whole], row_of(whole), NEVER)
        assert essence(found) == essence(whole)


@settings(max_examples=30)
@given(logs(), st.integers(0, 24))
def test_a_row_brings_back_what_the_history_has_lost(records: list[ARecord], kept_from: int) -> None:
    """Whatever events are gone, the row's keys are there, and none that it does not have."""
    # A repeat whose first delivery is gone counts as new, and its body may differ: keys are never dropped.
    records = [
        record
        for record in records
        if not record.headers and b'"idempotent":true' not in (record.value or b"")
    ]
    late = merged([record for record in records if record.offset >= kept_from])
    for key, whole in merged(records).items():
        row = row_of(whole)
        if row is None:
            continue
        value = lifted(*split_key(key), [None, late.get(key)], row, NEVER)
        found = orjson.loads(value or b"")
        assert (orjson.dumps(found["data"]), found["version"]) == (
            orjson.dumps(orjson.loads(row.data)),
            row.version,
        )


def test_what_is_no_state_of_the_request_is_omitted_and_what_is_erased_stays_so() -> None:
    """Bytes of another key's, cut off, or with wrong types."""
    good = merged([a_record(0, an_event(data={"a": 1}))])[b"default/r1"]
    other = good.replace(b'"r1"', b'"r2"')
    for bad in (other, good[:-3], b"garbage", b"[]", good.replace(b'"version":0', b'"version":"x"')):
        assert lifted("default", "r1", [bad, good], None, NEVER) == good
        assert lifted("default", "r1", [bad], None, NEVER) is None
    erased = lifted("default", "r1", [good], row_of(good), 5)
    assert states.is_erased(erased or b"")
