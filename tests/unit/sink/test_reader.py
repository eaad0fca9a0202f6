"""When a route says that it reads."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.sink.batch import Limits
from services.sink.reader import Reader
from tests.support.sink import Bench

PLACE = TopicPartition("feedback-state", 0)


@pytest.fixture
async def reader() -> Reader:
    """A reader that no group has heard of yet."""
    bench = Bench()
    consumer: Any = SimpleNamespace(seek=lambda *_: None, pause=lambda *_: None)
    facts: Any = None
    limits = Limits(rows=1, size=1, seconds=1.0)
    return Reader(bench.route, consumer, bench.store, limits, facts, lambda: 0)


async def test_it_waits_for_its_group(reader: Reader) -> None:
    """At the start, and whenever the group shares the partitions out anew."""
    assert reader.complaint() == "waiting for the consumer group"

    await reader.on_partitions_assigned([])
    await reader.on_partitions_revoked([])

    assert reader.complaint() == "waiting for the consumer group"


async def test_it_waits_until_its_partitions_are_placed(reader: Reader) -> None:
    """Before that it does not know where to read on."""
    await reader.on_partitions_assigned([PLACE])

    assert reader.complaint() == "its partitions are not placed yet"


async def test_one_that_is_given_no_partition_has_nothing_to_wait_for(reader: Reader) -> None:
    """There are more sinks than partitions."""
    await reader.on_partitions_assigned([])

    assert reader.complaint() is None
