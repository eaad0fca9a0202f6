"""Fixtures for an operator's commands: topics, tables, and a merger of partition 0, for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.settings import SinkSettings
from tests.support.merger.partitions import Scene
from tests.support.operations.dead_letters import environ
from tests.support.sink.runs import migrated


@pytest.fixture
async def settings(kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings) -> SinkSettings:
    """Settings that lead to topics and tables of this test's own."""
    return await migrated(kafka_settings, clickhouse_settings)


@pytest.fixture
async def scene(kafka_settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Scene]:
    """The same topics as a merger sees them; what it opened is closed when it ends."""
    scene = Scene(kafka_settings, tmp_path)
    yield scene
    await scene.close()


@pytest.fixture
def variables(settings: SinkSettings) -> dict[str, str]:
    """What leads the command to this test's topics and tables."""
    return environ(settings)
