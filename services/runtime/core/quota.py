"""Limits per tenant: bytes held in memory at once, and events per second.

A tenant's name may be text or bytes, but the same for one `ByteQuota`.
"""

from collections.abc import Hashable
from typing import NamedTuple

TIMES_FREE = 4
"""A tenant may hold this many times the bytes that are then free.

A single tenant can hold 4/5 of the limit, two competing tenants 4/9 each, n of them 4 / (1 + 4n) each.  So
shares are equal, some bytes are always free for a new tenant, and the number of tenants need not be known.
"""


class ByteQuota:
    """Counts bytes against a limit; the tenant that holds most is refused first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: dict[Hashable, int] = {}

    def take(self, tenant: Hashable, count: int) -> bool:
        """Take `count` bytes; return False, and take none, if that exceeds the limit or the tenant's share.

        While nothing is held, any size is taken.
        """
        held = self._held.get(tenant, 0) + count
        if held > TIMES_FREE * (self.limit - self.used - count) and self.used:
            return False
        self._held[tenant] = held
        self.used += count
        return True

    def take_more(self, tenant: Hashable, count: int, mine: int) -> bool:
        """Take more bytes for a holder of `mine` bytes; any size if nothing else is held."""
        if self.take(tenant, count):
            return True
        if mine < self.used:
            return False
        self._held[tenant] = self._held.get(tenant, 0) + count
        self.used += count
        return True

    def give(self, tenant: Hashable, count: int) -> None:
        """Give `count` bytes back."""
        held = self._held.get(tenant, 0) - count
        if held:
            self._held[tenant] = held
        else:
            self._held.pop(tenant, None)
        self.used -= count

    def held(self, tenant: Hashable) -> int:
        """Return how many bytes a tenant holds."""
        return self._held.get(tenant, 0)

    @property
    def tenants(self) -> int:
        """Number of tenants that hold bytes."""
        return len(self._held)


BURST_SECONDS = 10.0
"""Seconds' worth of events that an idle tenant may send at once."""

REMEMBERED = 10_000
"""Buckets kept; beyond, full ones are dropped, since a new bucket is full as well."""


class _Bucket(NamedTuple):
    tokens: float
    then: float
    rate: float

    def at(self, now: float, rate: float) -> "_Bucket":
        """Return the bucket refilled up to `now`; `rate` may differ from before."""
        tokens = min(rate * BURST_SECONDS, self.tokens + max(0.0, now - self.then) * rate)
        return _Bucket(tokens, now, rate)

    @property
    def wait(self) -> float:
        """Seconds until the bucket can pay for an event."""
        least = min(1.0, self.rate * BURST_SECONDS)
        return max(0.0, (least - self.tokens) / self.rate)

    @property
    def is_full(self) -> bool:
        return self.tokens >= self.rate * BURST_SECONDS


class RateLimiter:
    """A token bucket for each tenant, and one for each key with its own limit.

    `events_per_second` is the default for tenants without a configured rate; 0 means no limit.
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
        """Take tokens for `count` events and return 0, or take none and return the seconds to wait.

        After that wait the same call succeeds, unless others took the tokens.  A bucket with any token left
        pays for a whole batch and goes below zero, so batches larger than a burst pass, at the same average
        rate.
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
            buckets = {
                name: bucket._replace(tokens=bucket.tokens - count) for name, bucket in buckets.items()
            }
        self._buckets |= buckets
        if len(self._buckets) > REMEMBERED:
            self._forget(now)
        return wait

    def _bucket(self, name: tuple[str, str], rate: float, now: float) -> _Bucket:
        full = _Bucket(rate * BURST_SECONDS, now, rate)
        return self._buckets.get(name, full).at(now, rate)

    def _forget(self, now: float) -> None:
        self._buckets = {
            name: bucket for name, bucket in self._buckets.items() if not bucket.at(now, bucket.rate).is_full
        }
