"""What a record of the events topic must have become in `feedback_events`, as a few numbers.

Bodies are compared by the first half of their MD5, which ClickHouse computes as `halfMD5`: this looks for
accidents, not for forgers.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import md5
from typing import NamedTuple, Protocol

import msgspec

from schemas.identity import event_key
from services.runtime.kafka.core.records import LocatedRecordLike

Render = Callable[[LocatedRecordLike, int], bytes | None]
"""What the sink makes of a record of a generation: a line of JSON, or None for what is no event."""

_SEPARATOR = b"\x1f"
_FIRST_YEAR, _LAST_YEAR = 1971, 2298
"""Times outside of these are cut off by ClickHouse, so they are not compared."""


class ExpectedEvent(NamedTuple):
    """An event as a table row: its version, the offset of its record, its time and its checksum.

    `log_offset` has the generation in it; `received_us` is None for a time that no column can hold.
    """

    key: bytes
    version: int
    log_offset: int
    received_us: int | None
    digest: int


DIGEST_SQL = (
    "halfMD5(concat(toString(event_id), '\\x1f', op, '\\x1f', source, '\\x1f', if(idempotent, '1', '0'),"
    " '\\x1f', data, '\\x1f', request, '\\x1f', item_id,"
    " '\\x1f', ifNull(toString(toUnixTimestamp64Micro(at)), '')))"
)
"""The digest of a row of `feedback_events`, in SQL."""


class _Line(msgspec.Struct):
    tenant: str
    request_id: str
    version: int
    event_id: str
    op: str
    source: str
    received_at: datetime
    log_offset: int
    idempotent: bool
    data: msgspec.Raw
    request: msgspec.Raw
    item_id: str = ""
    at: datetime | None = None


_decode = msgspec.json.Decoder(_Line).decode


def expected_event(line: bytes) -> ExpectedEvent:
    """Return the row that a line for the table becomes."""
    row = _decode(line)
    parts = (
        row.event_id.encode(), row.op.encode(), row.source.encode(), b"1" if row.idempotent else b"0",
        bytes(row.data), bytes(row.request), row.item_id.encode(),
        b"" if row.at is None else b"%d" % _since_epoch(row.at),
    )  # fmt: skip
    return ExpectedEvent(
        key=event_key(row.tenant, row.request_id),
        version=row.version,
        log_offset=row.log_offset,
        received_us=microseconds(row.received_at),
        digest=half_md5(_SEPARATOR.join(parts)),
    )


def half_md5(text: bytes) -> int:
    """Return ClickHouse's `halfMD5` of a string."""
    return int.from_bytes(md5(text, usedforsecurity=False).digest()[:8])


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime | None) -> int | None:
    """Return a time as ClickHouse keeps it, None where it cannot; no time is 1970."""
    if moment is None:
        return 0
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    return _since_epoch(moment)


def _since_epoch(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Suspect(NamedTuple):
    """An event without a row, as far as one look shows."""

    topic: str
    partition: int
    offset: int
    log_offset: int
    tenant: str
    request_id: str
    version: int
    timestamp: int
    """When Kafka appended it, in milliseconds."""


class Appended(Protocol):
    """What is needed of a record that is suspected."""

    @property
    def partition(self) -> int: ...  # noqa: D102 (Kafka's own words)
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102


def suspect(topic: str, record: Appended, event: ExpectedEvent) -> Suspect:
    """Return an event as one that seems to be missing."""
    tenant, _, request_id = event.key.decode().partition("/")
    return Suspect(
        topic, record.partition, record.offset, event.log_offset, tenant, request_id, event.version,
        record.timestamp,
    )  # fmt: skip
