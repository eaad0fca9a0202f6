"""Which keys and events are compared: as predicates, and as the same conditions in SQL."""

from dataclasses import dataclass

from schemas.identity import is_tenant
from services.reconciliation.core.events import half_md5
from services.reconciliation.core.missing_events import quoted

_SPACE = 2**64
_BUCKET_ENTRIES = 40_000
"""Records and rows that are looked at together, in memory."""
_MOST_BUCKETS = 1_024


@dataclass(frozen=True, kw_only=True)
class VerifySelection:
    """Events from `since_ms` on and before `until_ms`, and a share of the keys that they touch.

    A key is in the sample if its hash, which begins with the seed, is below the share.
    """

    tenant: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    share: float = 1.0
    seed: str = ""
    kept_since_ms: int = 0
    """What was appended before may have expired in the tables; in milliseconds."""

    def __post_init__(self) -> None:
        """Raise ValueError on a tenant, or a range of time, that can be none."""
        if self.tenant is not None and not is_tenant(self.tenant):
            raise ValueError(f"{self.tenant!r} cannot be a tenant: small letters, digits, dashes, at most 63")
        if self.since_ms is not None and self.until_ms is not None and self.since_ms >= self.until_ms:
            raise ValueError("--from must be before --to")

    @property
    def limit(self) -> int | None:
        """Below which hash a key is in the sample; None for all keys."""
        return None if self.share >= 1 else int(self.share * _SPACE)

    @property
    def has_times(self) -> bool:
        """Whether a range of time was asked for."""
        return self.since_ms is not None or self.until_ms is not None

    def is_of_tenant(self, key: bytes) -> bool:
        """Return whether a key is the tenant's."""
        return self.tenant is None or key.startswith(f"{self.tenant}/".encode())

    def takes(self, key: bytes) -> bool:
        """Return whether a key is the tenant's and in the sample."""
        limit = self.limit
        return self.is_of_tenant(key) and (limit is None or half_md5(self.seed.encode() + key) < limit)

    def covers(self, timestamp: int) -> bool:
        """Return whether an event that was appended then, in milliseconds, is meant."""
        return (self.since_ms is None or timestamp >= self.since_ms) and (
            self.until_ms is None or timestamp < self.until_ms
        )

    def is_kept(self, timestamp: int) -> bool:
        """Return whether the tables must still have what was appended then."""
        return timestamp >= self.kept_since_ms

    def sql(self) -> str:
        """Return the condition that `takes` is, on columns tenant and request_id."""
        parts = [] if self.tenant is None else [f"tenant = {quoted(self.tenant)}"]
        if (limit := self.limit) is not None:
            parts.append(f"halfMD5(concat({quoted(self.seed)}, tenant, '/', request_id)) < {limit}")
        return " AND ".join(parts) or "true"

    def times_sql(self) -> str:
        """Return the condition that `covers` is, on the column appended_at."""
        parts = []
        if self.since_ms is not None:
            parts.append(f"toUnixTimestamp64Milli(appended_at) >= {self.since_ms}")
        if self.until_ms is not None:
            parts.append(f"toUnixTimestamp64Milli(appended_at) < {self.until_ms}")
        return " AND ".join(parts) or "true"


def buckets_for(entries: float) -> int:
    """Return into how many buckets `entries` are divided, each of which fits into memory."""
    return min(_MOST_BUCKETS, 1 + int(entries / _BUCKET_ENTRIES))


def bucket_of(key: bytes, count: int) -> int:
    """Return the bucket of a key; independent of samples."""
    return half_md5(b"bucket/" + key) % count
