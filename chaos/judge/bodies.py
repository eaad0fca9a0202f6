"""A record of the events topic as the judge reads it.

Pure.  It shares nothing with the services but the shape of an event.
"""

import json
import re
from binascii import crc32
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Protocol
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, BeforeValidator, JsonValue, ValidationError

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.events import FeedbackEvent, Op, at_of, item_id_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DEEPEST = 17
"""An event, and 16 levels below it; those of up to a thousand bytes may nest deeper."""
_NO_NUMBER = re.compile(rb"NaN|Infinity")

Headers = Sequence[tuple[str, bytes | None]]


class LogRecord(Protocol):
    """What a Kafka consumer gives.  The timestamp is in milliseconds."""

    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Headers: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Body:
    """The content of an event.

    Values of `data` and `request` are canonical JSON text; `received` and `at` microseconds since 1970.
    """

    event_id: str
    op: str
    source: str
    received: int
    idempotent: bool
    data: Mapping[str, str] | None
    request: Mapping[str, str] | None
    item_id: str = ""
    at: int | None = None

    @property
    def said(self) -> bytes:
        """A hash of the operation and its fields; an absent part is not an empty one."""
        parts = ("null" if part is None else object_text(part) for part in (self.data, self.request))
        return digest_of(self.op, *parts)

    @property
    def content(self) -> bytes:
        """A hash of what the event changes; an absent part is an empty one."""
        return digest_of(self.op, object_text(self.data or {}), object_text(self.request or {}))


class _Loose(BaseModel):
    """Whatever can stand in the table of events, though the merger may refuse it."""

    event_id: UUID
    tenant: str
    request_id: str
    received_at: AwareDatetime
    source: str
    op: Op
    data: dict[str, JsonValue] | None = None
    request: dict[str, JsonValue] | None = None
    idempotent: bool | None = None
    item_id: Annotated[str | None, BeforeValidator(item_id_of)] = None
    at: Annotated[AwareDatetime | None, BeforeValidator(at_of)] = None


_slowly = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def text_of(value: Any) -> str:
    """Return the canonical JSON text of a value."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # what ingest rejects: integers beyond 64 bits, lone surrogates
        return _slowly(value)


def value_of(text: bytes | str) -> Any:
    """Return the value of a JSON text; ValueError when it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def digest_of(*texts: str) -> bytes:
    """Return a short hash of texts."""
    return blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=16).digest()


def object_text(fields: Mapping[str, str]) -> str:
    """Return the canonical JSON text of an object whose values are canonical texts."""
    return "{" + ",".join([f"{_key_text(key)}:{fields[key]}" for key in sorted(fields)]) + "}"


_key_text = lru_cache(1 << 16)(text_of)


def canonical(fields: Mapping[str, Any] | None) -> str:
    """Return the canonical JSON text of an object; of an absent one, that of an empty one."""
    return object_text(texts(fields) or {})


def texts(fields: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Return an object with each value as canonical text."""
    return None if fields is None else {key: text_of(value) for key, value in fields.items()}


def body_of(record: LogRecord) -> Body | None:
    """Return the event that a record holds, None when it is none that can be merged."""
    value = record.value or b""
    if _NO_NUMBER.search(value) and not _is_strict(value):
        return None
    try:
        event = FeedbackEvent.model_validate_json(value)
    except ValidationError:
        return None
    return None if _is_deep(value, event) else _body(event, record)


def loose_body_of(record: LogRecord) -> Body | None:
    """Return what may stand in the table of events of a record that cannot be merged."""
    try:
        event = _Loose.model_validate_json(record.value or b"")
    except ValidationError:
        return None
    return _body(event, record)


def _body(event: FeedbackEvent | _Loose, record: LogRecord) -> Body | None:
    if f"{event.tenant}/{event.request_id}".encode() != record.key:
        return None
    fields = value_of(record.value or b"")
    return Body(
        str(event.event_id),
        event.op.value,
        event.source,
        microseconds(event.received_at),
        bool(event.idempotent),
        texts(fields.get("data")),
        texts(fields.get("request")),
        event.item_id or "",
        None if event.at is None else microseconds(event.at),
    )


def microseconds(time: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def _is_strict(value: bytes) -> bool:
    def refuse(_: str) -> None:
        raise ValueError

    try:
        json.loads(value, parse_constant=refuse)
    except ValueError:
        return False
    return True


def _is_deep(value: bytes, event: FeedbackEvent) -> bool:
    if len(value) <= 1_000 or value.count(b"{") + value.count(b"[") <= _DEEPEST:
        return False
    return 1 + max(_depth(event.data), _depth(event.request)) > _DEEPEST


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [child for one in level for child in (one.values() if isinstance(one, dict) else one)]
    return depth


def replayed_version(headers: Headers, own: int) -> int | None:
    """Return the version at which a record counts, `own` without a replay header, None for a wrong one."""
    found = [value for name, value in headers if name == REPLAY_VERSION_HEADER]
    if not found:
        return own
    text = (found[0] or b"").decode("latin-1")
    if len(found) > 1 or not text or set(text) - set("0123456789") or int(text) >= own:
        return None
    return int(text)


def is_named_in_text(headers: Headers) -> bool:
    """Return whether every header has a name in UTF-8."""
    return all(
        name.isascii() or not any("\ud800" <= mark <= "\udfff" for mark in name) for name, _ in headers
    )


def home_of(key: bytes, partitions: int) -> int:
    """Return the partition that a key belongs into."""
    return crc32(key) % partitions
