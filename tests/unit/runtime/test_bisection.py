"""Which errors of ClickHouse are a fault of rows, halves of a batch, and how many refusals are tolerated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.clickhouse.core.bisection import Tolerance, halves, is_refusal


@pytest.mark.parametrize("code", [6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131, 469])
def test_a_value_that_clickhouse_cannot_take_is_the_rows_fault(code: int) -> None:
    """These are the codes for which a row is looked for."""
    assert is_refusal(code)


@pytest.mark.parametrize("code", [None, 0, 16, 60, 81, 159, 202, 210, 241, 242, 243, 252, 319, 439, 497, 516])
def test_every_other_error_is_retried(code: int | None) -> None:
    """Memory, limits, missing tables, replicas, passwords: the same batch may be taken later."""
    assert not is_refusal(code)


@given(st.lists(st.integers(), min_size=2))
def test_halves_are_both_smaller_and_lose_nothing(items: list[int]) -> None:
    """Cutting ends, and keeps every row and the order."""
    left, right = halves(items)

    assert [*left, *right] == items
    assert 0 < len(left) < len(items)
    assert 0 < len(right) < len(items)


def test_a_few_refused_rows_are_tolerated() -> None:
    """Bad rows happen; up to a tenth of the last thousand are given up one by one."""
    assert not Tolerance().after(50, 50).after(950, 50).exceeded
    assert not Tolerance().after(50_000, 4_999).exceeded


def test_more_than_a_tenth_refused_is_no_bad_luck() -> None:
    """A bad deployment must not drain the log into the dead letters, neither slowly nor at once."""
    assert Tolerance().after(50, 50).after(60, 51).exceeded
    assert Tolerance().after(50_000, 5_001).exceeded


def test_long_ago_is_forgiven() -> None:
    """What counts is the last thousand rows, not all since the start."""
    assert not Tolerance().after(1_000, 90).after(1_000, 90).exceeded


def test_an_operator_may_raise_the_tolerated_share() -> None:
    """A share of 1 never stops the route, and the share stays over batches."""
    assert not Tolerance(share=1.0).after(50, 50).after(5_000, 5_000).exceeded
    assert Tolerance(share=0.5).after(1_000, 400).after(1_000, 501).exceeded
