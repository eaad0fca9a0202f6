"""Who an event belongs to, where it lives in the log, and its place in the order.

A key always lives in one partition, so its Kafka offset is its order.  No clock takes part.
"""

import re
from zlib import crc32

from schemas.limits import MAX_REQUEST_ID_LENGTH

DEFAULT_TENANT = "default"

TENANT_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""A tenant is a slug, so the first `/` of a key ends it."""

REQUEST_ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]{1,256}$"
"""A request id is opaque: any characters but control characters."""

OFFSET_BITS = 48
_OFFSET_MASK = (1 << OFFSET_BITS) - 1

_tenant = re.compile(TENANT_PATTERN[:-1] + r"\Z")
_control = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_tenant(text: str) -> bool:
    """Return whether the text can name a tenant."""
    return _tenant.match(text) is not None


def is_request_id(text: str) -> bool:
    """Return whether the text can be a request id: 1 to 256 characters, no control characters."""
    # What is printable has no control characters, and nearly every id is; the search takes far longer.
    return 0 < len(text) <= MAX_REQUEST_ID_LENGTH and (text.isprintable() or _control.search(text) is None)


def event_key(tenant: str, request_id: str) -> bytes:
    """Return the Kafka key of all events and of the state of one request."""
    return f"{tenant}/{request_id}".encode()


def split_key(key: bytes) -> tuple[str, str]:
    """Return (tenant, request_id) of a Kafka key; ValueError when it is none of ours."""
    tenant, slash, request_id = key.decode().partition("/")
    if not slash or not is_tenant(tenant) or not is_request_id(request_id):
        raise ValueError("a key is <tenant>/<request_id>")
    return tenant, request_id


def partition_of(key: bytes, count: int) -> int:
    """Return the partition of a key: CRC-32 modulo the partition count (librdkafka's `consistent`)."""
    return crc32(key) % count


def version_of(generation: int, offset: int) -> int:
    """Return the place of a record among all records of its key, over all generations of the topic."""
    return generation << OFFSET_BITS | offset


def split_version(version: int) -> tuple[int, int]:
    """Return (generation, offset) of a version."""
    return version >> OFFSET_BITS, version & _OFFSET_MASK
