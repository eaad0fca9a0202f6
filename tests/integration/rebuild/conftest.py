"""A deployment for each test: its own topics and tables, migrated."""

from pathlib import Path

import pytest

from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.settings import SinkSettings
from tests.support.rebuilding import environ
from tests.support.sink_runs import migrated


@pytest.fixture
async def settings(kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings) -> SinkSettings:
    """Settings that lead to topics and tables of this test's own."""
    return await migrated(kafka_settings, clickhouse_settings)


@pytest.fixture
def variables(settings: SinkSettings, tmp_path: Path) -> dict[str, str]:
    """What leads the command to this test's topics and tables."""
    return environ(settings, tmp_path)
