"""How many events tenants and keys may send.  Pure: the time is handed in."""

from typing import NamedTuple

BURST_SECONDS = 10.0
"""Who was quiet may send that many seconds' worth at once."""

REMEMBERED = 10_000
"""Buckets; past that those that are full again are forgotten, which changes nothing."""


class _Bucket(NamedTuple):
    tokens: float
    then: float
    rate: float

    def at(self, now: float, rate: float) -> "_Bucket":
        """Return the bucket as it is now, filled at a rate that may have changed."""
        tokens = min(rate * BURST_SECONDS, self.tokens + max(0.0, now - self.then) * rate)
        return _Bucket(tokens, now, rate)

    @property
    def wait(self) -> float:
        """Seconds until it pays for something."""
        least = min(1.0, self.rate * BURST_SECONDS)
        return max(0.0, (least - self.tokens) / self.rate)

    @property
    def is_full(self) -> bool:
        return self.tokens >= self.rate * BURST_SECONDS


class Rates:
    """A token bucket for each tenant, and one for each key that has a limit of its own.

    `events_per_second` is for tenants that nothing else is said of; 0 is no limit.
    """

    def __init__(self, events_per_second: float) -> None:
        self._default = events_per_second
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(
        self,
        tenant: str,
        count: int,
        now: float,
        *,
        tenant_rate: float | None = None,
        key_id: str = "",
        key_rate: float | None = None,
    ) -> float:
        """Take tokens for so many events and return 0, or take none and return the seconds to wait.

        Who waits that long, and is alone in doing so, gets through.  A bucket with any token left pays for
        the whole of a batch and goes below zero, so that batches larger than a burst get through, at the same
        rate on average.
        """
        rate = self._default if tenant_rate is None else tenant_rate
        if not rate and key_rate is None:
            return 0.0
        limits = {("tenant", tenant): rate} if rate else {}
        if key_rate is not None:
            limits["key", key_id] = key_rate
        buckets = {name: self._bucket(name, limit, now) for name, limit in limits.items()}
        wait = max(bucket.wait for bucket in buckets.values())
        if not wait:
            buckets = {name: one._replace(tokens=one.tokens - count) for name, one in buckets.items()}
        self._buckets |= buckets
        if len(self._buckets) > REMEMBERED:
            self._forget(now)
        return wait

    def _bucket(self, name: tuple[str, str], rate: float, now: float) -> _Bucket:
        full = _Bucket(rate * BURST_SECONDS, now, rate)
        return self._buckets.get(name, full).at(now, rate)

    def _forget(self, now: float) -> None:
        self._buckets = {
            name: one for name, one in self._buckets.items() if not one.at(now, one.rate).is_full
        }
