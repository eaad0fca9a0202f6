"""Whose turn is next: tenants take turns, and one tenant's requests stand in line.  Pure."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """Lines of waiting ones, one a tenant.  A tenant that waits with a hundred gets the turns of one."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def add(self, tenant: str, one: T) -> None:
        """Stand in line."""
        self._lines.setdefault(tenant, deque()).append(one)

    def next(self) -> T | None:
        """Return who is next, None if nobody waits; its tenant is the last in the round now."""
        if not self._lines:
            return None
        tenant, line = self._lines.popitem(last=False)
        one = line.popleft()
        if line:
            self._lines[tenant] = line
        return one

    def __bool__(self) -> bool:
        return bool(self._lines)
