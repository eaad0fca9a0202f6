"""Bytes that may be held at once, shared among tenants.  Pure.

Who holds them is one name: a tenant's, as text or bytes.
"""

from collections.abc import Hashable
from typing import NamedTuple

TIMES_FREE = 4
"""A tenant may hold as many times what is then left free.

One tenant alone may hold four fifths of all, two that want all four ninths each, n of them 4 / (1 + 4n):
all the same, and some is always left for who comes next.  Nobody has to know how many tenants there are.
"""


class Shares:
    """Counts bytes against a limit; who holds most is refused first.  What was taken is given back."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: dict[Hashable, int] = {}

    def take(self, tenant: Hashable, count: int) -> bool:
        """Take so many bytes, or nothing if that is more than there is, or than the tenant's share.

        What comes while nothing is held is taken whatever its size.
        """
        held = self._held.get(tenant, 0) + count
        if held > TIMES_FREE * (self.limit - self.used - count) and self.used:
            return False
        self._held[tenant] = held
        self.used += count
        return True

    def take_more(self, tenant: Hashable, count: int, mine: int) -> bool:
        """Take more for something that holds `mine` already: whatever it comes to, if it is alone."""
        if self.take(tenant, count):
            return True
        if mine < self.used:
            return False
        self._held[tenant] = self._held.get(tenant, 0) + count
        self.used += count
        return True

    def give(self, tenant: Hashable, count: int) -> None:
        """Give bytes back."""
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
        """How many tenants hold any."""
        return len(self._held)


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
