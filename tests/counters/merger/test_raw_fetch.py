"""What a record of a fetch costs before it is merged, counted and not timed."""

from services.runtime.kafka.lenient_decoding import TolerantRecords
from services.runtime.kafka.raw_fetch import Fetched
from tests.support.counting import count
from tests.support.kafka.foreign_headers import batch_of

BATCHES, RECORDS = 5, 1_000


def test_a_fetch_is_decoded_by_the_batch() -> None:
    """No function is called for a record, and next to no instruction of Python is spent on it."""
    fetch = batch_of([(b"key", b"value", None)] * RECORDS) * BATCHES

    def work() -> None:
        batches = TolerantRecords(fetch)
        fetched = Fetched([batches.next_batch() for _ in range(BATCHES)], 0)
        assert sum(map(len, fetched.pieces(2_000))) == BATCHES * RECORDS

    instructions, calls = count(work).each(BATCHES * RECORDS)
    assert instructions < 0.5
    assert calls < 0.05
