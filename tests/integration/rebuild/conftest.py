"""A deployment for each test: its own topics and tables, migrated."""

from pathlib import Path

import pytest

from services.sink.settings import SinkSettings
from tests.support.operations.fixtures import settings
from tests.support.operations.rebuild import environ

__all__ = ["settings"]


@pytest.fixture
def variables(settings: SinkSettings, tmp_path: Path) -> dict[str, str]:
    """What leads the command to this test's topics and tables."""
    return environ(settings, tmp_path)
