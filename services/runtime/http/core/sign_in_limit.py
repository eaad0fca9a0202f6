"""Limits how often an address may try wrong keys.

Keys are far too long to be guessed, so a right one never waits; this bounds what is logged of wrong ones.
"""

from collections import OrderedDict

TRIES = 10
"""Wrong keys from one address before it has to wait."""
SECONDS_EACH = 6.0
"""After this long, one more may be tried."""
REMEMBERED = 10_000
"""Addresses, at most; the least recent is forgotten first."""


class SignInLimit:
    """Counts wrong keys by address, as a bucket that empties with time."""

    def __init__(self) -> None:
        self._free_at: OrderedDict[str, float] = OrderedDict()
        """When everything an address has done wrong is forgotten."""

    def failed(self, client: str, now: float) -> float:
        """Count a wrong key; return the seconds before another key of its address is checked.

        0: it need not, and the key counts.  What is tried while it has to wait makes it wait no longer.
        """
        debt = max(self._free_at.pop(client, now) - now, 0.0)
        wait = max(0.0, debt - (TRIES - 1) * SECONDS_EACH)
        self._free_at[client] = now + debt + (0.0 if wait else SECONDS_EACH)
        if len(self._free_at) > REMEMBERED:
            self._free_at.popitem(last=False)
        return wait
