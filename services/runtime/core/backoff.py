"""Delays between retries."""

from collections.abc import Iterator


def delays(first: float = 0.1, longest: float = 10.0, factor: float = 2.0) -> Iterator[float]:
    """Yield seconds to wait before each retry, growing to `longest`, for ever.

    No jitter: each consumer here retries alone, and a predictable delay can be tested.
    """
    delay = first
    while True:
        yield delay
        delay = min(longest, delay * factor)
