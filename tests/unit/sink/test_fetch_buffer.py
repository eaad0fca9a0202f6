"""What was fetched is taken once, in order, and positions never run ahead of it."""

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.kafka.core.records import Partition
from services.sink.core.batch import FetchBuffer
from tests.support.sink.doubles import FakeFetch, FakeRecord

ONE, OTHER = ("feedback-state", 0), ("feedback-state", 1)

Part = tuple[int, int]
"""Records that a partition's part of a fetch has, and markers behind them."""

_parts = st.tuples(st.integers(0, 12), st.integers(0, 3))
_fetches = st.lists(st.dictionaries(st.sampled_from([ONE, OTHER]), _parts), max_size=6)


def records(first: int, number: int) -> list[FakeRecord]:
    """Return so many records from an offset on."""
    return [FakeRecord(b"{}", b"k", offset) for offset in range(first, first + number)]


class Log:
    """Partitions that a consumer reads, each fetch from where the one before ended."""

    def __init__(self) -> None:
        self.ends: dict[Partition, int] = {ONE: 0, OTHER: 0}
        self.offsets: dict[Partition, list[int]] = {ONE: [], OTHER: []}
        """Those of records; the others are of markers."""

    def fetch(self, parts: dict[Partition, Part]) -> dict[Partition, FakeFetch]:
        """Return what comes next of each partition."""
        found = {}
        for place, (number, markers) in parts.items():
            come = records(self.ends[place], number)
            self.offsets[place] += [one.offset for one in come]
            self.ends[place] += number + markers
            if come:
                found[place] = FakeFetch(come)
        return found


@given(_fetches, st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_every_record_is_taken_once_and_its_position_with_it(
    fetches: Sequence[dict[Partition, Part]], turns: Sequence[tuple[bool, int]]
) -> None:
    """However much is fetched, and however little of it there is room for, in any order of the two."""
    log, coming = Log(), [*reversed(fetches)]
    waiting = FetchBuffer(log.ends)
    seen: dict[Partition, list[int]] = defaultdict(list)
    reached = {**log.ends}
    for fetches_first, room in [*turns, *[(True, 5)] * 6, (False, 10**6)]:
        if fetches_first and coming:
            found = log.fetch(coming.pop())
            waiting.put(found, log.ends)
        taken = waiting.take(room)

        assert sum(map(len, taken.records.values())) <= room
        for place, several in taken.records.items():
            assert {(one.topic, one.partition) for one in several} == {place}
            seen[place] += [one.offset for one in several]
        for place, position in taken.positions.items():
            assert position > reached[place]
            reached[place] = position
        for place, position in reached.items():
            assert seen[place] == [one for one in log.offsets[place] if one < position]

    assert reached == log.ends
    assert not waiting


def test_a_position_within_a_fetch_is_behind_the_last_record_that_was_taken() -> None:
    """The next owner reads on there; behind the fetch it is the consumer's, which has passed the markers."""
    waiting = FetchBuffer({ONE: 0})
    waiting.put({ONE: FakeFetch(records(0, 5))}, {ONE: 7})

    first, second = waiting.take(3), waiting.take(3)

    assert [one.offset for one in first.records[ONE]] == [0, 1, 2]
    assert (first.positions, second.positions) == ({ONE: 3}, {ONE: 7})
    assert not waiting


def test_markers_behind_what_waits_are_not_passed_before_it() -> None:
    """A position says that everything before it was taken."""
    waiting = FetchBuffer({ONE: 0})
    waiting.put({ONE: FakeFetch(records(0, 5))}, {ONE: 5})
    waiting.put({}, {ONE: 6})

    assert waiting.take(2).positions == {ONE: 2}
    assert waiting.take(3).positions == {ONE: 6}


def test_markers_alone_move_a_position_without_any_room() -> None:
    """They take up no row."""
    waiting = FetchBuffer({ONE: 0, OTHER: 0})
    waiting.put({}, {ONE: 2, OTHER: 0})

    assert waiting.take(0) == ({}, {ONE: 2})
    assert waiting.take(0) == ({}, {})


def test_a_fetch_whose_records_were_all_left_out_moves_its_position() -> None:
    """Those of a batch that begins before what was asked for, and what was compacted."""
    waiting = FetchBuffer({ONE: 5})
    waiting.put({ONE: FakeFetch([])}, {ONE: 8})

    assert waiting.take(1) == ({}, {ONE: 8})
