"""How many events each tenant may send.  Pure: the time is handed in."""

BURST_SECONDS = 10.0
"""A tenant that was quiet may send that many seconds' worth at once."""


class Rates:
    """A token bucket for each tenant.  A rate of 0 is no limit."""

    def __init__(self, events_per_second: float) -> None:
        self._rate = events_per_second
        self._burst = events_per_second * BURST_SECONDS
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, tenant: str, count: int, now: float) -> float:
        """Take tokens for so many events and return 0, or take none and return the seconds to wait.

        A bucket with any token left pays for the whole of a batch and goes below zero, so that batches
        larger than a burst get through, at the same rate on average.
        """
        if not self._rate:
            return 0.0
        tokens, then = self._buckets.get(tenant, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        if tokens < min(1, self._burst):
            self._buckets[tenant] = tokens, now
            return (1 - tokens) / self._rate
        self._buckets[tenant] = tokens - count, now
        return 0.0
