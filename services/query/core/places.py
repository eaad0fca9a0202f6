"""Places that readers may have at once, shared among tenants.  Pure."""

from enum import StrEnum


def share_of(total: int) -> int:
    """Return how many of so many places one tenant may have: all but a quarter, and always one."""
    return max(1, total - max(1, total // 4))


class Full(StrEnum):
    """Why there is no place."""

    ALL = "all"
    """All are taken, whoever has them."""
    OWN = "own"
    """There are some, and the tenant has all that one may have."""


class Places:
    """So many places, of which one tenant never has all, where there are two at all."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._share = share_of(total)
        self._of: dict[str, int] = {}

    def full(self, tenant: str) -> Full | None:
        """Return why a tenant can have no place now, or None."""
        if self._free <= 0:
            return Full.ALL
        return Full.OWN if self._of.get(tenant, 0) >= self._share else None

    def take(self, tenant: str) -> None:
        """Take a place that there is."""
        self._free -= 1
        self._of[tenant] = self._of.get(tenant, 0) + 1

    def leave(self, tenant: str) -> None:
        """Give it back."""
        self._free += 1
        self._of[tenant] -= 1
        if not self._of[tenant]:
            del self._of[tenant]
