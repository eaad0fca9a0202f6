"""Decodes records of the events topic: the event and the version at which it counts, or why it is poison.

Values of `data` and `request` stay the JSON text that ingest wrote: they are copied to the row.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any
from uuid import UUID

import msgspec
import orjson
from msgspec import Meta, Raw, Struct

from schemas.deadletters import REPLAY_VERSION_HEADER, Reason
from schemas.events import Op
from schemas.limits import MAX_DEPTH, MAX_KEY_LENGTH, MAX_KEYS
from services.runtime.kafka.core.records import Headers, is_text

_Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)]
_Fields = Annotated[dict[_Key, Raw], Meta(max_length=MAX_KEYS)]
_LONGEST_VERSION = len(str(2**64 - 1))
_MERGE = Op.MERGE  # looking up members of an enum is slow
_SHALLOW_BYTES = 1_000
"""An event this short cannot nest deeply enough to exhaust the stack of a decoder."""


class Poison(ValueError):  # noqa: N818 (a kind of record, not a fault of the merger)
    """A record that can never be merged, and is dead-lettered."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class DecodedEvent(Struct, gc=False):
    """The body of a feedback event: the same shape as `schemas.events.FeedbackEvent`, decoded faster."""

    event_id: UUID
    tenant: str
    request_id: str
    received_at: Annotated[datetime, Meta(tz=True)]
    source: Annotated[str, Meta(min_length=1, max_length=64)]
    op: Op
    data: _Fields | None = None
    request: _Fields | None = None
    idempotent: bool | None = None


_decode = msgspec.json.Decoder(DecodedEvent).decode
_faults = (msgspec.MsgspecError, orjson.JSONDecodeError, UnicodeDecodeError, RecursionError, OverflowError)


def decode(key: bytes, value: bytes) -> DecodedEvent:
    """Return the event of a record; Poison if it is none, or if key and body disagree."""
    try:
        event = _decode(value)
        fault = _fault(event, key, value)
        if event.received_at.tzinfo is not UTC:
            event.received_at = event.received_at.astimezone(UTC)
    except _faults as error:
        raise Poison(Reason.MALFORMED_EVENT, f"not an event: {error}") from error
    if fault:
        raise Poison(Reason.MALFORMED_EVENT, fault)
    return event


def _fault(event: DecodedEvent, key: bytes, value: bytes) -> str | None:
    """Return a fault that the decoder does not detect, since it skips the values of fields."""
    if f"{event.tenant}/{event.request_id}".encode() != key:
        return "key and body disagree"
    if event.op is not _MERGE and not (event.data is None and event.request is None):
        return f"{event.op} carries neither data nor request"
    if event.idempotent is False:
        return "idempotent is true or absent"
    if not value.isascii():
        value.decode()
    if len(value) > _SHALLOW_BYTES and _is_deep(value):
        return f"nested deeper than {MAX_DEPTH} levels"
    return None


def _is_deep(value: bytes) -> bool:
    # `data` and `request` lie one level below the event.  Fewer brackets than levels cannot nest too deep.
    levels = MAX_DEPTH + 1
    return value.count(b"{") + value.count(b"[") > levels and _depth(value) > levels


def _depth(value: bytes) -> int:
    """Return how deeply objects and arrays are nested."""
    depth, level = 0, [orjson.loads(value)]
    while level:
        depth += 1
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
    return depth


def _children(node: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node


def version_in_order(headers: Headers, own: int) -> int:
    """Return the version at which a record counts: its own, unless it is a replayed dead letter.

    Poison if the replay header is no version, occurs twice, or has a version not below `own`, or if the
    name of a header is not UTF-8, since it might have been the replay header.
    """
    if not all(is_text(name) for name, _ in headers):
        raise Poison(Reason.MALFORMED_EVENT, "a header has a name that is not UTF-8")
    texts = [value for name, value in headers if name == REPLAY_VERSION_HEADER]
    if not texts:
        return own
    text = texts[0]
    if len(texts) > 1 or not text or not text.isdigit() or len(text) > _LONGEST_VERSION:
        raise Poison(Reason.INVALID_REPLAY, f"{REPLAY_VERSION_HEADER} is not one decimal version")
    if (version := int(text)) >= own:
        raise Poison(Reason.INVALID_REPLAY, f"a replay of version {version} at version {own}")
    return version


def digest(event: DecodedEvent) -> str:
    """Return a hash of the event's op, data and request, independent of the order of keys."""
    text = msgspec.json.encode([event.op, event.data, event.request])
    with suppress(orjson.JSONDecodeError):  # values that ingest refuses; their text is hashed as it is
        text = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=8).hexdigest()
