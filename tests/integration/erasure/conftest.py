"""One merger, one sink and one ClickHouse for all tests of erasure: each writes as a tenant of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest

from services.erasure.core.leftovers import SWEPT
from services.runtime.clickhouse.client import connect
from services.runtime.settings import KafkaSettings
from tests.support.clickhouse.tables import run
from tests.support.merger.process import MergerProcess
from tests.support.operations.erasure import Pipeline
from tests.support.sink.runs import SinkProgram, migrated
from tests.support.stack.local_servers import OwnWarehouse

NUMBERS = count(1)
AT_ONCE = "cleanup_delay_period = 1, max_cleanup_delay_period = 1, cleanup_delay_period_random_add = 0"
"""Parts that a mutation replaced are deleted when ClickHouse cleans up: every few minutes otherwise."""


@pytest.fixture(scope="session")
async def pipeline(
    kafka: KafkaSettings, generations: Iterator[int], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pipeline]:
    """Everything but ingest, with chores that are quick to look."""
    home = tmp_path_factory.mktemp("erasure")
    warehouse = OwnWarehouse(home / "warehouse")
    topics = kafka.replace(kafka_topic_generation=next(generations))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(warehouse.kill)
        await warehouse.start()
        client = await connect(warehouse.settings, database="default")
        await client.command(f"CREATE DATABASE {warehouse.settings.clickhouse_database}")
        await client.close()
        settings = await migrated(
            topics, warehouse.settings, sink_erasure_seconds=0.2, sink_sweep_seconds=0.5
        )
        for table in SWEPT:
            await run(settings, f"ALTER TABLE {table} MODIFY SETTING {AT_ONCE}")
        merger = MergerProcess(topics, home)
        stack.push_async_callback(merger.kill)
        await merger.start()
        sink = SinkProgram(settings, home)
        stack.push_async_callback(sink.kill)
        await sink.start()
        yield Pipeline(settings, warehouse, sink, home)


@pytest.fixture
def tenant() -> str:
    """A tenant that has no rows yet."""
    return f"erasing-{next(NUMBERS)}"
