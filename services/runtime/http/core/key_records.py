"""The content of the key file: keys by their SHA-256, and what tenants may send."""

import tomllib
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from math import inf
from typing import Annotated

import msgspec

from schemas.identity import TENANT_PATTERN

Rate = Annotated[float, msgspec.Meta(gt=0)]
"""Events per second."""


class Scope(StrEnum):
    """What a key allows."""

    WRITE = "write"
    """Send events."""
    READ = "read"
    """Read the tenant's rows."""
    ADMIN = "admin"
    """Erase, and everything that the other scopes allow."""


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as the file has it."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Annotated[str, msgspec.Meta(pattern=TENANT_PATTERN)]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    created_at: datetime
    name: str = ""
    known_requests: bool = False
    events_per_second: Rate | None = None
    """What may be sent with this key, within what its tenant may send."""
    expires_at: datetime | None = None


class TenantRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant in the file."""

    events_per_second: Rate | None = None
    """Events per second of all keys of the tenant together; None: the service's setting."""
    store_texts: bool | None = None
    """Whether prompts and responses of requests are stored; None: the service's setting."""


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file."""

    keys: tuple[KeyRecord, ...] = ()
    tenants: dict[Annotated[str, msgspec.Meta(pattern=TENANT_PATTERN)], TenantRecord] = {}


class KeyFileError(ValueError):
    """A key file that cannot be read."""


def digest(key: str) -> str:
    """Return what the file keeps of a key."""
    return sha256(key.encode()).hexdigest()


def parse(text: str) -> tuple[KeyRecord, ...]:
    """Return the keys of a file; KeyFileError with what is wrong in it."""
    return parse_file(text).keys


def parse_file(text: str) -> Keys:
    """Return the content of a file; KeyFileError with what is wrong in it."""
    return parse_named(text)[0]


def parse_named(text: str) -> tuple[Keys, bool]:
    """Return the content of a file, and whether it names its keys at all; KeyFileError as `parse_file`.

    A file that has no keys on purpose has `keys = []`.  One that was cut, or not written yet, has not.
    """
    try:
        document = tomllib.loads(text)
        file = msgspec.convert(document, Keys)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise KeyFileError(str(error)) from None
    for unique in ("id", "sha256"):
        values = [getattr(key, unique) for key in file.keys]
        if len(set(values)) != len(values):
            raise KeyFileError(f"two keys have the same {unique}")
    return file, "keys" in document


def ends_at(record: KeyRecord) -> float:
    """Return the Unix time in seconds from which a key is not valid; infinity for one without an end."""
    ends = record.expires_at
    if ends is None:
        return inf
    return (ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp()


def has_expired(record: KeyRecord, now: float) -> bool:
    """Return whether a key has expired; `now` is Unix time in seconds.  No zone means UTC."""
    return ends_at(record) <= now
