"""A scene for each test: topics of its own, and whatever mergers it opens on them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.runtime.settings import KafkaSettings
from tests.support.merger.partitions import Scene


@pytest.fixture
async def scene(kafka_settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Scene]:
    """Topics of this test's own; what it opened is closed when it ends."""
    scene = Scene(kafka_settings, tmp_path)
    yield scene
    await scene.close()
