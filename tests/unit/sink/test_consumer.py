"""When a route says that it reads, and what becomes of what it has read when its partitions go."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from schemas.tables import FEEDBACK_STATE
from services.pipeline.core.continuity import ContinuityFacts
from services.sink.consumer import RouteConsumer
from services.sink.core.batch import BatchLimits
from tests.support.eventually import eventually
from tests.support.kafka.backlog import Backlog, unmarked
from tests.support.sink.doubles import Bench, InMemoryWriter, state

PLACE = TopicPartition("feedback-state", 0)


@pytest.fixture
async def reader() -> RouteConsumer:
    """A reader that no group has heard of yet."""
    bench = Bench()
    consumer: Any = SimpleNamespace(seek=lambda *_: None, pause=lambda *_: None)
    facts: Any = None
    limits = BatchLimits(rows=1, size=1, seconds=1.0)
    return RouteConsumer(bench.route, consumer, bench.store, limits, facts, lambda: 0, unmarked)


async def test_it_waits_for_its_group(reader: RouteConsumer) -> None:
    """At the start, and whenever the group shares the partitions out anew."""
    assert reader.complaint() == "waiting for the consumer group"

    await reader.on_partitions_assigned([])
    await reader.on_partitions_revoked([])

    assert reader.complaint() == "waiting for the consumer group"


async def test_it_waits_until_its_partitions_are_placed(reader: RouteConsumer) -> None:
    """Before that it does not know where to read on."""
    await reader.on_partitions_assigned([PLACE])

    assert reader.complaint() == "the start offsets of its partitions are not known yet"


async def test_one_that_is_given_no_partition_has_nothing_to_wait_for(reader: RouteConsumer) -> None:
    """There are more sinks than partitions."""
    await reader.on_partitions_assigned([])

    assert reader.complaint() is None


@dataclass
class Gate(InMemoryWriter):
    """A writer that lets nothing in until it is opened."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    """Inserts that were begun."""

    async def insert(self, table: str, lines: Sequence[bytes], columns: Sequence[str] | None = None) -> None:
        """Wait, then keep the lines."""
        self.asked += 1
        await self.opened.wait()
        await super().insert(table, lines, columns)


async def test_what_waits_when_partitions_go_is_read_again_by_their_next_owner() -> None:
    """One batch is being stored, one is full, and the rest of the fetch waits: only the first one counts."""
    gate, stop = Gate(), asyncio.Event()
    bench = Bench(writer=gate)
    backlog = Backlog(PLACE, [state(f"r-{number}", number) for number in range(100)])
    consumer: Any = backlog
    facts = ContinuityFacts(service="sink", generation=0, cluster_id="", recorded=None, paired=(), log={})
    limits = BatchLimits(rows=10, size=2**20, seconds=600.0)
    reader = RouteConsumer(bench.route, consumer, bench.store, limits, facts, lambda: 0, unmarked)
    await reader.on_partitions_assigned([PLACE])
    running = asyncio.create_task(reader.run(stop))
    await eventually(lambda: gate.asked)

    revoked = asyncio.create_task(reader.on_partitions_revoked([PLACE]))
    gate.opened.set()
    await revoked
    assert [len(gate.tables[FEEDBACK_STATE]), backlog.committed_to] == [10, 10]
    await reader.on_partitions_assigned([PLACE])
    await eventually(lambda: backlog.committed_to == 100)
    stop.set()
    await running

    assert gate.tables[FEEDBACK_STATE] == [bench.route.render(record, 0) for record in backlog.records]
