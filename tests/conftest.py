"""Markers by folder, and how hard Hypothesis tries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TIERS = ("unit", "property", "contract", "integration", "e2e", "chaos")
HERE = Path(__file__).parent

pytest_plugins = ["tests.support.stack"]

settings.register_profile(
    "afterword", deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("afterword")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark each test with its tier, which is the folder it lives in, and run the quick tiers first.

    Marked before pytest selects by `-m`, sorted after the order was shuffled.
    """
    for item in items:
        item.add_marker(getattr(pytest.mark, _tier(item)))
    yield
    items.sort(key=lambda item: TIERS.index(_tier(item)))


def _tier(item: pytest.Item) -> str:
    return Path(item.path).relative_to(HERE).parts[0]
