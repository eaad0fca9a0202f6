"""What an event costs the merger between a fetch and a transaction, counted and not timed."""

from bench.events import published
from services.merger.core.fold import SourcePartition, fold, keys_of
from tests.support.counting import count
from tests.support.merger.records import ARecord

EVENTS = 3_000
SOURCE = SourcePartition(topic="feedback-events", generation=0, partition=0, partitions=1)


def a_batch(first: int, seed: int) -> list[ARecord]:
    """Return events of the benchmark as one partition holds them."""
    return [
        ARecord(first + number, key, value)
        for number, (key, value) in enumerate(published(EVENTS, seed=seed))
    ]


def test_an_event_of_a_new_row() -> None:
    """Its key is looked at, its body decoded, and its row made: three events a row."""
    batch = a_batch(0, seed=1)
    stored = dict.fromkeys(keys_of(batch))
    instructions, calls = count(lambda: fold(batch, stored, SOURCE)).each(EVENTS)

    assert instructions < 480
    assert calls < 29


def test_an_event_of_a_row_that_is_stored() -> None:
    """Two of three rows are decoded first."""
    rows = fold(a_batch(0, seed=1), {}, SOURCE).rows
    stored = {key: row.value for key, row in rows.items()}
    batch = a_batch(EVENTS, seed=2)
    instructions, calls = count(lambda: fold(batch, stored, SOURCE)).each(EVENTS)

    assert instructions < 475
    assert calls < 27
