"""Markers by folder, and how hard Hypothesis tries."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

QUICK = ("unit", "property", "contract", "counters")
TIERS = (*QUICK, "integration", "e2e", "chaos")
_SHARED = "whole_stack"
"""The stack that runs for the whole run, once."""
_COSTLY = (_SHARED, "pipeline")
"""What runs for the whole run and is not worth being started in each worker."""
HERE = Path(__file__).parent
_LONGEST = (
    "e2e/docs/test_pages.py",
    "integration/resize/test_resize.py",
    "chaos/test_short.py",
    "integration/rebuild/test_tables.py",
    "e2e/pipeline/test_kills.py",
    "e2e/local/test_up.py",
)
"""What takes minutes: begun last, it would keep one worker busy while the others have nothing left to do."""

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
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    items.sort(key=lambda item: TIERS.index(_tier(item)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        # What takes longest comes first, and the quick tiers fill what is left between the workers.
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Return a test's place in a run with several workers: a smaller one is begun with earlier."""
    if _SHARED in _fixtures(item):
        return 0
    path = _path(item)
    return 1 + (_LONGEST.index(path) if path in _LONGEST else len(_LONGEST))


def _group(item: pytest.Item) -> str | None:
    """Return what keeps tests together on one worker: what they share is costly to make."""
    if costly := [name for name in _COSTLY if name in _fixtures(item)]:
        return costly[0]
    shares = any(one.scope == "module" for made in _fixtures(item).values() for one in made)
    return _path(item) if shares or _tier(item) in QUICK else None


def _fixtures(item: pytest.Item) -> Mapping[str, Sequence[pytest.FixtureDef[object]]]:
    """Return every fixture that a test takes, directly or not."""
    return item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).as_posix()


def _tier(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]
