"""The certificate of an erasure: what was deleted, what was verified, what is retained until when.

Kafka deletes whole segments: a record stays until the newest record of its segment is older than the topic's
retention, and a segment takes records for as long as `segment.ms`.  So a date is the latest possible one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.erasure.core.erasures import ErasureRecord

Settings = Mapping[str, str]
"""A topic's settings, as Kafka returns them."""

NOT_REACHED = (
    "backups of ClickHouse, of Kafka and of the merger's directory",
    "exports and query results that were taken before",
    "tables that a rebuild kept as `..._before_rebuild`: `afterword rebuild --drop-old` drops them",
    "programs of others that read the topics, and proxies that log bodies",
    "dead letters whose key names no request: `SELECT * FROM dead_letters WHERE tenant = ''`",
)
"""What Afterword cannot delete from."""

_LONGEST_LAG = timedelta(days=36_500)
"""Kafka's default for "never" is 292 million years."""


@dataclass(frozen=True)
class TopicRetention:
    """A place that keeps older bytes for a while: until when at the latest; None if unknown."""

    place: str
    until: datetime | None
    why: str

    def as_json(self) -> dict[str, Any]:
        """Return it for a certificate."""
        until = None if self.until is None else self.until.isoformat(timespec="seconds")
        return {"place": self.place, "until": until, "why": self.why}


def certificate(
    erasure: ErasureRecord,
    *,
    checked_at: datetime,
    left: Mapping[str, int],
    later: int,
    erased_at: datetime | None,
    topics: Mapping[str, Settings],
) -> dict[str, Any]:
    """Return the certificate.

    `left` rows of each table were found when everything was asked again; `later` requests name the user
    since; the last erase event was appended at `erased_at`, None if there was nothing to erase.
    """
    kept = () if erased_at is None else (*_kafka(topics, erased_at, checked_at), *_local())
    return {
        "erasure": str(erasure.id),
        "tenant": erasure.tenant,
        "asked_at": erasure.asked_at.isoformat(),
        "user_hash": erasure.user_hash or None,
        "request_ids": list(erasure.request_ids),
        "erased_at": None if erased_at is None else erased_at.isoformat(),
        "found": dict(sorted(erasure.found.items())),
        "checked_at": checked_at.isoformat(),
        "left": dict(sorted(left.items())),
        "later_requests": later,
        "kept": [one.as_json() for one in kept],
        "not_reached": list(NOT_REACHED),
    }


def _kafka(
    topics: Mapping[str, Settings], erased_at: datetime, checked_at: datetime
) -> Iterator[TopicRetention]:
    for name, settings in sorted(topics.items()):
        if "compact" in settings.get("cleanup.policy", "delete"):
            yield _compacted(name, settings, checked_at)
        else:
            # Merger and sink dead-letter what they read later than it was appended.
            newest = checked_at if "-dlq" in name else erased_at
            yield _deleted(name, settings, newest)


def _deleted(name: str, settings: Settings, newest: datetime) -> TopicRetention:
    retention, segment = _span(settings, "retention.ms"), _span(settings, "segment.ms")
    if retention is None or segment is None:
        return TopicRetention(f"topic {name}", None, "its retention has no end")
    why = (
        f"segments are deleted {_days(retention)} after their newest record, and filled for {_days(segment)}"
    )
    return TopicRetention(f"topic {name}", newest + segment + retention, why)


def _compacted(name: str, settings: Settings, checked_at: datetime) -> TopicRetention:
    lag = _span(settings, "max.compaction.lag.ms")
    if lag is None:
        return TopicRetention(
            f"topic {name}", None, "max.compaction.lag.ms has no end: Kafka compacts when it likes"
        )
    why = f"older states of a request go when Kafka compacts, which it begins within {_days(lag)}"
    return TopicRetention(f"topic {name}", checked_at + lag, why)


def _span(settings: Settings, name: str) -> timedelta | None:
    milliseconds = int(settings.get(name, "-1"))
    if milliseconds < 0 or milliseconds > _LONGEST_LAG / timedelta(milliseconds=1):
        return None
    return timedelta(milliseconds=milliseconds)


def _days(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"


def _local() -> Iterable[TopicRetention]:
    return (
        TopicRetention(
            "files of the merger's state",
            None,
            "overwritten there, and gone once RocksDB compacts those files; a merger that starts without its"
            " directory builds it anew from the state topic",
        ),
        TopicRetention(
            "ClickHouse's replaced parts",
            None,
            "read by nobody, and deleted in the background: after `old_parts_lifetime` (8 minutes"
            " by default), when ClickHouse next cleans up (within 5 more)",
        ),
    )


def lines(certificate: Mapping[str, Any]) -> list[str]:
    """Return a certificate as text."""
    about = f"user {certificate['user_hash']}" if certificate["user_hash"] else "named requests"
    return [
        f"erasure {certificate['erasure']} of tenant {certificate['tenant']}: {about}",
        f"  asked     {certificate['asked_at']}",
        f"  erased    {certificate['erased_at'] or 'nothing: no request was found'}",
        f"  checked   {certificate['checked_at']}",
        f"  requests  {len(certificate['request_ids']):,}",
        f"  found     {counts(certificate['found'])}",
        f"  left      {counts(certificate['left'])}",
        *_later(certificate["later_requests"]),
        *_kept(certificate["kept"]),
        "what Afterword cannot reach:",
        *(f"  {one}" for one in certificate["not_reached"]),
    ]


def counts(numbers: Mapping[str, int]) -> str:
    """Return counts by table, in words."""
    return ", ".join(f"{number:,} in {name}" for name, number in numbers.items()) or "nothing"


def _later(requests: int) -> Iterable[str]:
    if requests:
        yield f"  since     {requests:,} requests name the user again, by feedback that came after"


def _kept(several: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    places = list(several)
    if places:
        yield "older bytes are kept, at the latest:"
    for one in places:
        yield f"  {one['place']}: {_until(one['until'])} ({one['why']})"


def _until(moment: str | None) -> str:
    return "nobody can tell until when" if moment is None else f"until {moment}"
