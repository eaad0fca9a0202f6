"""Bytes that may be held at once, shared among tenants.  Pure.

Who holds them is one name: a tenant's, as text or bytes.
"""

from collections.abc import Hashable

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
