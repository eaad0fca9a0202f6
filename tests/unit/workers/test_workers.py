"""Tests that share servers run in one worker: a stack in each would take the processors from all."""

import pytest

from tests.support.docs.pages import ROOT
from tests.support.workers import _LONGEST, _WITH_THE_STACK, group_of, turn_of


@pytest.mark.parametrize("path", [*_LONGEST, *_WITH_THE_STACK])
def test_what_is_named_is_there(path: str) -> None:
    """A file that was renamed would lose its place without a word."""
    assert (ROOT / "tests" / path).exists()


def test_tests_that_use_the_stack_of_the_whole_run_are_in_its_group(request: pytest.FixtureRequest) -> None:
    """Of the tests of this run."""
    users = {
        item.path.relative_to(ROOT / "tests").as_posix()
        for item in request.session.items
        if isinstance(item, pytest.Function) and "whole_stack" in item.fixturenames
    }

    assert {group_of(path) for path in users} <= {"whole_stack"}


def test_what_takes_long_comes_first_and_what_is_quick_last() -> None:
    """The stack of the whole run is started as late as that allows."""
    paths = ["unit/merger/test_idle.py", "e2e/query/test_comparison.py", "integration/query/test_store.py"]

    assert sorted([*paths, _LONGEST[1], _LONGEST[0]], key=turn_of) == [*_LONGEST[:2], *reversed(paths)]
