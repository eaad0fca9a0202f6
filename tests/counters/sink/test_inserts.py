"""How many inserts a backlog takes, counted and not timed."""

import asyncio
from typing import Any

from aiokafka import TopicPartition

from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from services.pipeline.core.continuity import ContinuityFacts
from services.sink.consumer import RouteConsumer
from services.sink.core.batch import BatchLimits
from services.sink.settings import SinkSettings
from tests.support.eventually import eventually
from tests.support.kafka.backlog import Backlog, unmarked
from tests.support.sink.doubles import Bench, FakeRecord

ROWS = 100_000
PLACE = TopicPartition("feedback-state", 0)


def state(offset: int) -> FakeRecord:
    """Return the state of a request of its own: of several of one request, the newest alone is stored."""
    return FakeRecord(
        b'{"tenant":"default","request_id":"r-%d","version":1}' % offset, b"default/r-%d" % offset, offset
    )


async def test_a_backlog_of_100_000_rows_takes_two_inserts() -> None:
    """Each is as large as the settings say, with one row of positions: what an insert costs is paid twice."""
    settings = SinkSettings()
    limits = BatchLimits(settings.sink_batch_rows, settings.sink_batch_bytes, seconds=600.0)
    consumer: Any = Backlog(PLACE, [state(offset) for offset in range(ROWS)])
    bench, stop = Bench(), asyncio.Event()
    facts = ContinuityFacts(service="sink", generation=0, cluster_id="", recorded=None, paired=(), log={})
    reader = RouteConsumer(bench.route, consumer, bench.store, limits, facts, lambda: 0, unmarked)
    await reader.on_partitions_assigned([PLACE])
    running = asyncio.create_task(reader.run(stop))

    await eventually(lambda: consumer.committed_to == ROWS, within=120)
    stop.set()
    await running

    inserts = [call for call in bench.writer.calls if call[0] == FEEDBACK_STATE]
    assert inserts == [(FEEDBACK_STATE, 50_000)] * 2
    assert bench.writer.calls.count((SINK_POSITIONS, 1)) <= 3
