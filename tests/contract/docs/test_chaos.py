"""The page about the chaos run is that run's, and nothing was lost in it."""

import json
from typing import Any

import pytest

from chaos.faults import pairs
from chaos.report import FAILINGS, page
from tests.support.docs.pages import ROOT


@pytest.fixture
def run() -> dict[str, Any]:
    """The run that is committed."""
    found: dict[str, Any] = json.loads((ROOT / "docs" / "chaos" / "run.json").read_text())
    return found


def test_the_page_is_made_from_the_run(run: dict[str, Any]) -> None:
    """`python -m chaos.report docs/chaos/run.json docs/chaos.md` rewrites it."""
    assert (ROOT / "docs" / "chaos.md").read_text() == page(run)


def test_nothing_was_lost_in_the_run(run: dict[str, Any]) -> None:
    """Or the page would have to say so, and the README could not."""
    assert {name: run["verdict"][name] for name in FAILINGS} == dict.fromkeys(FAILINGS, 0)
    assert run["findings"] == []
    assert run["verdict"]["acknowledged"] == run["sums"]["acknowledged"] > 0


def test_every_kind_of_fault_struck_every_target_in_the_run(run: dict[str, Any]) -> None:
    """Two hundred faults and more: a shorter run is for its maker."""
    struck = {(fault["fault"], fault["target"]) for fault in run["faults"]}

    assert len(run["faults"]) >= 200
    assert struck == {(kind.name, target) for kind, target in pairs()}
