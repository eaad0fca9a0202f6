"""When a batch is written, and how far it says that its partitions are read."""

import pytest

from schemas.topics import Topology
from services.sink.core.batch import BatchLimits, SinkBatch
from services.sink.core.routes import SinkRoute, routes
from services.sink.core.rows import state_line
from tests.support.sink.doubles import FakeRecord, event, state

STATE, EVENTS, _ = routes(Topology())
PLACE = ("feedback-state", 0)


def batch(rows: int = 10, size: int = 1_000_000, seconds: float = 1.0) -> SinkBatch:
    """Return an empty batch of the state route."""
    return SinkBatch(STATE, BatchLimits(rows, size, seconds))


def test_an_empty_batch_is_never_due() -> None:
    """There is nothing to write."""
    assert batch().due_in(now=1e9) is None


def test_a_batch_is_due_a_while_after_its_first_record() -> None:
    """A lone record does not wait for others to fill the batch."""
    one = batch(seconds=1.0)
    one.add({PLACE: [state()]}, {PLACE: 1}, now=100.0)
    one.add({PLACE: [state("r-2", offset=1)]}, {PLACE: 2}, now=100.9)

    assert one.due_in(100.75) == 0.25
    assert one.due_in(101.0) == 0
    assert one.due_in(500.0) == 0


def test_a_batch_is_due_at_once_when_it_has_all_its_rows() -> None:
    """Waiting would only make the next one late."""
    one = batch(rows=2)
    one.add({PLACE: [state()]}, {PLACE: 1}, now=0.0)
    assert one.room == 1

    one.add({PLACE: [state("r-2", offset=1)]}, {PLACE: 2}, now=0.0)

    assert (one.room, one.due_in(0.0)) == (0, 0)


def test_a_batch_is_due_at_once_when_it_has_all_its_bytes() -> None:
    """Rows of 4 MiB fill memory long before there are many."""
    one = batch(size=100)
    one.add({PLACE: [state(data={"comment": "x" * 200})]}, {PLACE: 1}, now=0.0)

    assert (one.room, one.due_in(0.0)) == (0, 0)


def test_a_batch_waits_longer_after_one_that_took_long_to_store() -> None:
    """ClickHouse is busy, or rows are many: larger batches are what helps."""
    limits = BatchLimits(rows=10, size=1_000, seconds=0.5)

    assert limits.after(0.0) == limits.after(0.5) == limits
    assert limits.after(1.2).seconds == 1.2
    assert limits.after(600.0).seconds == 2.0


def test_a_batch_never_waits_less_than_configured() -> None:
    """Somebody wants few inserts."""
    limits = BatchLimits(rows=10, size=1_000, seconds=30.0)

    assert limits.after(0.0) == limits.after(600.0) == limits


def test_a_position_without_records_is_written_too() -> None:
    """Markers of transactions are read and never seen; without them the position never reaches the end."""
    one = batch()
    one.add({}, {PLACE: 5}, now=100.0)

    assert one.due_in(100.0) == 1.0
    assert one.positions == {PLACE: 5}


def test_nothing_read_opens_no_batch() -> None:
    """A fetch that timed out is no work."""
    one = batch()
    one.add({}, {}, now=100.0)

    assert one.due_in(200.0) is None


def test_every_record_is_a_row_or_refused_or_left_out() -> None:
    """No record disappears between Kafka and the batch."""
    one = batch()
    one.add({PLACE: [state(), FakeRecord(b"[]", offset=1), state("r-2", offset=2)]}, {PLACE: 3}, now=0.0)
    events = SinkBatch(EVENTS, BatchLimits(10, 1_000_000, 1.0))
    events.add({("feedback-events", 0): [FakeRecord(b"no event")]}, {("feedback-events", 0): 1}, now=0.0)

    assert [record.offset for record in one.records] == [0, 2]
    assert len(one.lines) == 2
    assert [refused.record.offset for refused in one.refused] == [1]
    assert (events.lines, events.refused, events.skipped) == ([], [], 1)


def test_freshness_goes_by_the_oldest_record_and_the_watermark_by_the_newest() -> None:
    """The record that waited longest tells how late the table is."""
    one = batch()
    records = [
        FakeRecord(b'{"a":1}', offset=number, timestamp=time) for number, time in enumerate([30, 10, 20])
    ]
    one.add({PLACE: records}, {PLACE: 3}, now=0.0)

    assert (one.oldest_ms, one.newest_ms) == (10, {PLACE: 30})


@pytest.mark.parametrize("route", routes(Topology()), ids=lambda route: route.name)
def test_only_dead_letters_have_no_dead_letters(route: SinkRoute) -> None:
    """A dead letter that led to another one would go round for ever."""
    assert (route.dead_letters is None) == (route.name == "dlq")


def test_of_the_states_of_a_request_only_the_newest_is_stored() -> None:
    """Each is all that is known of the request; ClickHouse would drop the older ones itself, later."""
    one = batch()
    first, other, newest = state("r-1", offset=0), state("r-2", offset=1), state("r-1", offset=2)
    one.add({PLACE: [first, other]}, {PLACE: 2}, now=0.0)
    one.add({PLACE: [newest]}, {PLACE: 3}, now=0.0)

    assert one.records == [newest, other]
    assert one.lines == [state_line(newest, 0), state_line(other, 0)]
    assert (one.size, one.positions) == (sum(map(len, one.lines)), {PLACE: 3})


def test_a_state_that_is_none_replaces_nothing() -> None:
    """It goes to the dead letters, and what was stored before stands."""
    one = batch()
    good, broken = state(offset=0), FakeRecord(b"[]", offset=1)
    assert good.key == broken.key
    one.add({PLACE: [good, broken]}, {PLACE: 2}, now=0.0)

    assert one.records == [good]
    assert [refused.record for refused in one.refused] == [broken]


def test_every_event_of_a_request_is_stored() -> None:
    """They are its history."""
    one = SinkBatch(EVENTS, BatchLimits(10, 1_000_000, 1.0))
    several = [event(offset=0), event(offset=1)]
    assert several[0].key == several[1].key

    one.add({("feedback-events", 0): several}, {}, now=0.0)

    assert one.records == several
