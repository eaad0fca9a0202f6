"""A fetch is taken in pieces of any size."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.kafka.lenient_decoding import TolerantRecords
from services.runtime.kafka.raw_fetch import Fetched
from tests.support.kafka.foreign_headers import batch_of

_sizes = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def fetched(sizes: list[int]) -> tuple[Fetched, list[bytes]]:
    """Return batches of so many records, and the values of all."""
    values = [b"%d" % number for number in range(sum(sizes))]
    left, batches = [*values], []
    for size in sizes:
        data = batch_of((b"k", value, None) for value in left[:size])
        batches.append(TolerantRecords(data).next_batch())
        del left[:size]
    return Fetched(batches, 0), values


@given(_sizes, st.lists(st.integers(0, 9), max_size=10))
def test_every_record_is_taken_once_and_in_order(sizes: list[int], turns: list[int]) -> None:
    """As many as are asked for, as long as there are so many, and it says when there are no more."""
    fetch, values = fetched(sizes)
    for most in turns:
        taken = [one.value for one in fetch.take(most)]
        assert taken == values[:most]
        del values[:most]
        assert fetch.is_taken == (not values)


@given(_sizes, st.integers(1, 9))
def test_pieces_are_all_of_it(sizes: list[int], most: int) -> None:
    """Each has so many records but the last."""
    fetch, values = fetched(sizes)

    pieces = [[one.value for one in piece] for piece in fetch.pieces(most)]

    assert pieces == [values[at : at + most] for at in range(0, len(values), most)]
