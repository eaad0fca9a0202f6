"""Event ids and times.  Pure: nanoseconds and random bits are handed in."""

from datetime import UTC, datetime
from hashlib import sha256

_COUNTER_BITS = 26
_LOW_BITS = 14
_VARIANT = 0x8000
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1
_LOW_MASK = (1 << _LOW_BITS) - 1


class Stamp:
    """Makes a UUIDv7 and an RFC 3339 time from one reading of the clock.

    RFC 9562 6.2: 48 bits of milliseconds, a counter of 26 bits, and 48 random bits of this process.
    The counter goes on over milliseconds, so that ids repeat only after 2^26 within one of them.
    Each process needs its own: a fork would share the random bits.
    """

    def __init__(self, node: bytes) -> None:
        """Take at least nine random bytes."""
        self._node = "-" + node[:6].hex()
        self._count = int.from_bytes(node[6:9], "big")
        self._microsecond = self._second = self._high = -1
        self._date = self._received_at = self._before = ""

    def __call__(self, nanoseconds: int) -> tuple[str, str]:
        """Return (event_id, received_at) for a time in nanoseconds since 1970."""
        self._count = count = (self._count + 1) & _COUNTER_MASK
        microsecond = nanoseconds // 1000
        if microsecond != self._microsecond or count >> _LOW_BITS != self._high:
            self._turn(microsecond, count >> _LOW_BITS)
        return f"{self._before}{count & _LOW_MASK | _VARIANT:04x}{self._node}", self._received_at

    def _turn(self, microsecond: int, high: int) -> None:
        """Write anew what many events have in common."""
        self._microsecond, self._high = microsecond, high
        second, rest = divmod(microsecond, 1_000_000)
        if second != self._second:
            self._second = second
            self._date = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        digits = f"{microsecond // 1000:012x}"
        self._before = f"{digits[:8]}-{digits[8:]}-7{high:03x}-"
        self._received_at = f"{self._date}{rest:06d}Z"


def idempotent_id(tenant: str, request_id: str, idempotency_key: str, index: int) -> str:
    """Return the UUIDv8 that the same call always gets: from SHA-256 of what names it.

    `index` is the event's place in its batch, 0 for a single one.  No part can contain the separator.
    """
    named = "\0".join((tenant, request_id, idempotency_key, str(index)))
    digits = sha256(named.encode()).hexdigest()
    variant = int(digits[16], 16) & 0x3 | 0x8
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant:x}{digits[17:20]}-{digits[20:32]}"
