"""A deployment for each test: its own topics and tables, migrated."""

import pytest

from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.settings import SinkSettings
from tests.support.sink_runs import migrated


@pytest.fixture
async def settings(kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings) -> SinkSettings:
    """Settings that lead to topics and tables of this test's own."""
    return await migrated(kafka_settings, clickhouse_settings)
