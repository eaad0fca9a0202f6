"""Rebuilds an event from its row in `feedback_events`, for records that the log no longer has."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec
import orjson

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.identity import event_key, split_version, version_of
from schemas.instants import rfc3339
from schemas.topics import Topology

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EMPTY = "{}"


@cache
def events_topic(generation: int) -> str:
    """Return the name of a generation's events topic; building it for each event would take its time."""
    return Topology(generation).events.name


class LogEvent(msgspec.Struct, array_like=True, tag="e", gc=False):
    """A record of an events topic, or one that was rebuilt from its row in `feedback_events`."""

    key: bytes
    generation: int
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    raw_headers: list[tuple[bytes, bytes | None]]
    is_rebuilt: bool = False

    @property
    def topic(self) -> str:
        """Its topic."""
        return events_topic(self.generation)

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """Its headers; bytes of a name that are no text as lone surrogates."""
        return [(name.decode(errors="surrogateescape"), value) for name, value in self.raw_headers]

    @property
    def own(self) -> int:
        """The version of its offset."""
        return version_of(self.generation, self.offset)


class EventRow(NamedTuple):
    """A row of `feedback_events`, in the order of `COLUMNS_SQL`; `log_offset` has the generation in it."""

    tenant: str
    request_id: str
    version: int
    log_offset: int
    partition: int
    appended_ms: int
    event_id: str
    op: str
    source: str
    received_us: int
    idempotent: bool
    data: str
    request: str
    item_id: str = ""
    at_us: int | None = None


COLUMNS_SQL = (
    "tenant, request_id, version, log_offset, log_partition AS partition,"
    " toUnixTimestamp64Milli(appended_at) AS appended_ms, toString(event_id) AS event_id, op, source,"
    " toUnixTimestamp64Micro(received_at) AS received_us, idempotent, data, request,"
    " item_id, toUnixTimestamp64Micro(at) AS at_us"
)
"""The columns of an `EventRow`."""


def event_of(row: EventRow) -> LogEvent:
    """Return the record that a row was made from.

    Whether `data` or `request` was absent or empty is not known any more; the merge treats both alike.
    """
    generation, offset = split_version(row.log_offset)
    key = event_key(row.tenant, row.request_id)
    headers: list[tuple[bytes, bytes | None]] = []
    if row.version != row.log_offset:
        headers = [(REPLAY_VERSION_HEADER.encode(), b"%d" % row.version)]
    value = orjson.dumps(_body(row))
    return LogEvent(key, generation, row.partition, offset, row.appended_ms, value, headers, is_rebuilt=True)


def _body(row: EventRow) -> dict[str, Any]:
    received_at = _EPOCH + timedelta(microseconds=row.received_us)
    body: dict[str, Any] = {
        "event_id": row.event_id,
        "tenant": row.tenant,
        "request_id": row.request_id,
        "received_at": received_at.isoformat(timespec="microseconds"),
        "source": row.source,
        "op": row.op,
    }
    parts = (("data", row.data), ("request", row.request))
    body |= {name: orjson.Fragment(text) for name, text in parts if text != _EMPTY}
    if row.idempotent:
        body["idempotent"] = True
    if row.item_id:
        body["item_id"] = row.item_id
    if row.at_us is not None:
        body["at"] = rfc3339(_EPOCH + timedelta(microseconds=row.at_us))
    return body
