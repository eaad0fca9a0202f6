"""Turns a Kafka record into one line of JSON for ClickHouse.

The names of the fields are the names of the columns; ClickHouse skips fields without a column.
"""

from base64 import b64encode
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated
from uuid import UUID

import msgspec
import orjson

from schemas.deadletters import REPLAY_VERSION_HEADER, DeadLetter, parse_headers
from schemas.events import Op, at_of, item_id_of
from schemas.identity import event_key, split_key, version_of
from services.runtime.kafka.core.log_mark import LogMark
from services.runtime.kafka.core.records import Headers, LocatedRecordLike, is_text

_BETWEEN = b'","request_id":"'
"""What the merger writes between tenant and request id in a state."""


class MalformedRowError(ValueError):
    """A record of the state topic that cannot be a row."""


def state_line(record: LocatedRecordLike, generation: int) -> bytes:
    """Return a state's bytes, unread, after its revision; a tombstone becomes a row that hides the request.

    MalformedRowError when the value is no JSON object, or a tombstone has no key `<tenant>/<request_id>`.
    """
    key, value, revision = record.key, record.value, version_of(generation, record.offset)
    if value is None:
        return _erased_line(key, revision)
    if value[:2] != b'{"' or value[-1:] != b"}":
        raise MalformedRowError("the value is not a JSON object")
    # The merger writes both names first, so most values are not decoded.
    if key is None or not value.startswith(b'{"tenant":"%b",' % key.replace(b"/", _BETWEEN, 1)):
        _check_own(key, value)
    return b'{"revision":%d,%b' % (revision, value[1:])


def _check_own(key: bytes | None, value: bytes) -> None:
    """Refuse a state that names another key: it would replace the row of another request."""
    try:
        named = _decode_named(value)
    except _faults:
        return  # ClickHouse refuses it with a reason
    if event_key(named.tenant, named.request_id) != key:
        raise MalformedRowError("the value is another request's")


def _erased_line(key: bytes | None, revision: int) -> bytes:
    try:
        tenant, request_id = split_key(key or b"")
    except ValueError as error:
        raise MalformedRowError(f"a null value whose key is not <tenant>/<request_id>: {error}") from error
    return orjson.dumps({"revision": revision, "is_deleted": 1, "tenant": tenant, "request_id": request_id})


_ABSENT = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b"{}")


class _Event(msgspec.Struct):
    """The wire shape of `feedback-event.v1`; its free-form fields stay bytes.

    So do `item_id` and `at`, since no value of theirs keeps an event out of the table.
    """

    event_id: UUID
    tenant: str
    request_id: str
    received_at: Annotated[datetime, msgspec.Meta(tz=True)]
    source: str
    op: Op
    data: msgspec.Raw = _ABSENT
    request: msgspec.Raw = _ABSENT
    idempotent: bool | None = None
    item_id: msgspec.Raw = _ABSENT
    at: msgspec.Raw = _ABSENT


class _EventRow(msgspec.Struct, omit_defaults=True):
    tenant: str
    request_id: str
    version: int
    event_id: UUID
    op: Op
    source: str
    received_at: datetime
    appended_at: str
    log_partition: int
    log_offset: int
    idempotent: bool
    data: msgspec.Raw
    request: msgspec.Raw
    item_id: str = ""
    at: datetime | None = None


class _Named(msgspec.Struct):
    tenant: str
    request_id: str


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_encode = msgspec.json.Encoder().encode


_faults = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def event_line(record: LocatedRecordLike, generation: int) -> bytes | None:
    """Return an event as a row; None for a record that is no event, which the merger dead-letters."""
    own = version_of(generation, record.offset)
    try:
        event = _decoded(record)
        version = version_in_order(record.headers, own)
        data, request = _text(event.data), _text(event.request)
    except _faults:
        return None
    row = _EventRow(
        tenant=event.tenant,
        request_id=event.request_id,
        version=version,
        event_id=event.event_id,
        op=event.op,
        source=event.source,
        received_at=event.received_at,
        appended_at=_instant(record.timestamp),
        log_partition=record.partition,
        log_offset=own,
        idempotent=event.idempotent is True,
        data=data,
        request=request,
    )
    if event.item_id is not _ABSENT:
        row.item_id = item_id_of(_value(event.item_id)) or ""
    if event.at is not _ABSENT:
        row.at = at_of(_value(event.at))
    return _encode(row)


def _value(raw: msgspec.Raw) -> object:
    """Return the value of a JSON text, None for one that no column could hold."""
    try:
        return msgspec.json.decode(raw)
    except _faults:
        return None


def _decoded(record: LocatedRecordLike) -> _Event:
    value = record.value or b""
    event = _decode_event(value)
    if not value.isascii():
        value.decode()
    if event_key(event.tenant, event.request_id) != record.key:
        raise ValueError("key and body disagree")
    if event.op is not Op.MERGE and not (bytes(event.data) == bytes(event.request) == b"null"):
        raise ValueError("only a merge carries fields")
    return event


def version_in_order(headers: Headers, own: int) -> int:
    """Return the version at which a record counts: its own, or its original one if it is a replay.

    ValueError when its replay header has no version below `own`, or the name of a header is not UTF-8.
    """
    if not headers:
        return own
    if not all(is_text(name) for name, _ in headers):
        raise ValueError("a header has a name that is not UTF-8")
    texts = [value for name, value in headers if name == REPLAY_VERSION_HEADER]
    if not texts:
        return own
    if len(texts) > 1 or not texts[0] or not texts[0].isdigit() or int(texts[0]) >= own:
        raise ValueError("no version that a replay can have")
    return int(texts[0])


def _text(raw: msgspec.Raw) -> msgspec.Raw:
    """Return an object as it was written; an absent one as an empty object."""
    if raw is _ABSENT:
        return _EMPTY
    text = bytes(raw)
    if text == b"null":
        return _EMPTY
    if not text.startswith(b"{"):
        raise ValueError("data and request are objects")
    return raw


def dead_letter_line(record: LocatedRecordLike, _generation: int) -> bytes:
    """Return a dead letter as a row, whatever its bytes are: key and value are sent in base64."""
    tenant, request_id = _owner(record.key)
    return orjson.dumps(
        {
            "dlq_topic": record.topic,
            "dlq_partition": record.partition,
            "dlq_offset": record.offset,
            "tenant": tenant,
            "request_id": request_id,
            **_explained(record),
            "key_base64": b64encode(record.key or b"").decode(),
            "raw_base64": None if record.value is None else b64encode(record.value).decode(),
            "updated": _instant(record.timestamp),
        }
    )


DEAD_LETTER_COLUMNS = (
    "dlq_topic", "dlq_partition", "dlq_offset", "tenant", "request_id", "stage", "reason", "detail",
    "original_topic", "original_partition", "original_offset", "original_version", "failed_at", "key_base64",
    "raw_base64", "updated",
)  # fmt: skip
"""Named in the insert, since ClickHouse accepts values for ephemeral columns only if these are named."""


def _owner(key: bytes | None) -> tuple[str, str]:
    try:
        return split_key(key or b"")
    except ValueError:
        return "", ""


def _explained(record: LocatedRecordLike) -> dict[str, str | int | None]:
    try:
        letter = parse_headers(record.headers)
        failed_at = datetime.fromisoformat(letter.failed_at).isoformat()
    except ValueError as error:
        return {
            "detail": f"headers that are not Afterword's: {error}"[:200],
            "failed_at": _instant(record.timestamp),
        }
    if not _fits(letter):
        return {
            "detail": "headers that are not Afterword's: numbers",
            "failed_at": _instant(record.timestamp),
        }
    return {
        "stage": letter.stage.value,
        "reason": letter.reason.value,
        "detail": letter.detail,
        "original_topic": letter.original_topic,
        "original_partition": letter.original_partition,
        "original_offset": letter.original_offset,
        "original_version": letter.original_version,
        "failed_at": failed_at,
    }


def _fits(letter: DeadLetter) -> bool:
    return (
        0 <= letter.original_partition < 2**32
        and 0 <= letter.original_offset < 2**63
        and 0 <= (letter.original_version or 0) < 2**64
    )


def position_line(
    route: str, topic: str, partition: int, position: int, appended_ms: int, mark: LogMark | None = None
) -> bytes:
    """Return a row of the table of positions; `mark` is of a record below the position."""
    return orjson.dumps(
        {
            "route": route,
            "topic": topic,
            "partition": partition,
            "position": position,
            "appended_at": _instant(appended_ms),
            "mark": str(mark or ""),
        }
    )


_LATEST_MS = 9_000_000_000_000
"""Year 2255, near the largest time that ClickHouse can hold."""


@lru_cache(maxsize=64)
def _instant(milliseconds: int) -> str:
    """Return a time in UTC in a format that ClickHouse parses unambiguously.

    Cached: it takes longer than decoding an event, and all records of a record batch have the same time.
    """
    seconds = min(max(0, milliseconds), _LATEST_MS) / 1000
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
