"""How often somebody may try to sign in.  Pure: time is handed in.

Keys are far too long to be guessed; this keeps guessing from costing others anything.
"""

from collections import OrderedDict

TRIES = 10
"""Wrong keys from one address before it has to wait."""
SECONDS_EACH = 6.0
"""After this long, one more may be tried."""
REMEMBERED = 10_000
"""Addresses, at most; the longest unheard of is forgotten first."""


class Attempts:
    """Counts wrong keys by address, as a bucket that empties with time."""

    def __init__(self) -> None:
        self._free_at: OrderedDict[str, float] = OrderedDict()
        """When everything an address has done wrong is forgotten."""

    def wait_seconds(self, client: str, now: float) -> float:
        """Return how long an address has to wait before it may try; 0 if it need not."""
        debt = self._free_at.get(client, now) - now
        return max(0.0, debt - (TRIES - 1) * SECONDS_EACH)

    def failed(self, client: str, now: float) -> None:
        """Count a wrong key."""
        self._free_at[client] = max(self._free_at.pop(client, now), now) + SECONDS_EACH
        if len(self._free_at) > REMEMBERED:
            self._free_at.popitem(last=False)
