"""Names that an erasure makes up: ids of its events, and the hash that stands for a user.  Pure.

The event that erases a request has the same id whenever the erasure is carried out anew, so what was
published is known from the log, whoever dies in between.
"""

from hashlib import sha256
from uuid import UUID

SOURCE = "erasure"
"""What erase events name as their dialect."""

PREFIX_CHARACTERS = 18
"""`xxxxxxxx-xxxx-8xxx`: what all event ids of one erasure begin with."""


def user_hash(tenant: str, user_id: str) -> str:
    """Return what stands for a user in every table, as 32 hex digits; the DDL of the tables has the same."""
    return sha256(f"{tenant}/{user_id}".encode()).digest()[:16].hex()


def event_id(erasure: UUID, request_id: str) -> UUID:
    """Return the id of the event by which this erasure erases the request: a UUIDv8."""
    whose = sha256(erasure.bytes).digest()[:8]
    which = sha256(erasure.bytes + request_id.encode()).digest()[:8]
    number = int.from_bytes(whose + which)
    number = number & ~(0xF << 76) | 0x8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def prefix(erasure: UUID) -> str:
    """Return the characters that all event ids of an erasure begin with."""
    return str(event_id(erasure, ""))[:PREFIX_CHARACTERS]
