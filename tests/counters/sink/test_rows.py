"""What a record costs the sink between its decoding and an insert, counted and not timed."""

from collections.abc import Iterable

from bench.events import published
from bench.sink.rows import states
from schemas.topics import Topology
from services.sink.core.batch import BatchLimits, FetchBuffer, SinkBatch
from services.sink.core.routes import SinkRoute, routes
from tests.support.counting import count
from tests.support.sink.doubles import FakeFetch, FakeRecord

ROWS = 3_000
STATE, EVENTS, _ = routes(Topology())


def filled(route: SinkRoute, records: Iterable[tuple[bytes, bytes]]) -> tuple[float, float]:
    """Return instructions and calls of a record that becomes a line of a batch."""
    read = [FakeRecord(value, key, offset) for offset, (key, value) in enumerate(records)]
    place = (route.topics[0].name, 0)

    def fill() -> None:
        batch, waiting = SinkBatch(route, BatchLimits(rows=ROWS, size=2**30, seconds=1.0)), FetchBuffer({})
        waiting.put({place: FakeFetch(read)}, {place: ROWS})
        taken = waiting.take(ROWS)
        batch.add(taken.records, taken.positions, 0.0)
        assert len(batch.lines) == ROWS

    return count(fill).each(ROWS)


def test_a_state_is_passed_through() -> None:
    """Nothing in it is decoded: its names are compared with its key, and a revision goes before its bytes."""
    instructions, calls = filled(STATE, states(ROWS))

    assert instructions < 150  # the names in it are compared with its key
    assert calls < 9


def test_an_event_is_decoded_once() -> None:
    """The time of its record batch is written once, and not for each event."""
    instructions, calls = filled(EVENTS, published(ROWS))

    assert instructions < 225
    assert calls < 16
