"""Marks tests by their tier and by the servers that they need, orders them, and sets up Hypothesis."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.workers import TIERS, Together, turn_of

HERE = Path(__file__).parent
pytest_plugins = ["tests.support.stack.fixtures"]
SERVERS = frozenset({"kafka", "warehouse", "own_kafka", "own_cluster", "own_warehouse", "whole_stack"})
"""Fixtures that start a server."""

settings.register_profile(
    "afterword", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("afterword")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark each test with its tier, which is its folder, and with `servers`; run the quick tiers first.

    Marked before pytest selects by `-m`, sorted after the order was shuffled.
    """
    for item in items:
        item.add_marker(getattr(pytest.mark, _tier(item)))
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
    yield
    items.sort(key=lambda item: TIERS.index(_tier(item)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: turn_of(_path(item)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Keep tests that share servers in one worker."""
    return Together(config, log)


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).as_posix()


def _tier(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]
