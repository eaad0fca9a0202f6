"""Backoff grows to its bound."""

from itertools import islice

from services.runtime.core.backoff import delays


def test_delays_double_up_to_the_longest() -> None:
    """And stay there for ever."""
    assert list(islice(delays(0.1, 1.0), 6)) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
