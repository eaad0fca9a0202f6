"""What a line for the sink says, in the same few bytes as ClickHouse makes of the row.  Pure."""

from hashlib import sha256
from typing import NamedTuple

import msgspec
from msgspec import Raw

from services.operations.rebuild.core.kinds import EVENTS, LETTERS, STATE, Kind

_EMPTY = Raw(b"{}")


class Digest(NamedTuple):
    """A row in short: its name, its place among the copies of its key, and what it says; 0 if hidden."""

    key: str
    order: int
    digest: int


class _State(msgspec.Struct):
    tenant: str
    request_id: str
    revision: int
    version: int = 0
    data: Raw = _EMPTY
    request: Raw = _EMPTY
    is_deleted: int = 0


class _Event(msgspec.Struct):
    tenant: str
    request_id: str
    version: int
    log_offset: int
    event_id: str
    op: str
    source: str
    data: Raw
    request: Raw


class _Letter(msgspec.Struct):
    dlq_topic: str
    dlq_partition: int
    dlq_offset: int
    tenant: str
    request_id: str
    key_base64: str
    raw_base64: str | None
    stage: str = ""
    reason: str = ""


_state = msgspec.json.Decoder(_State).decode
_event = msgspec.json.Decoder(_Event).decode
_letter = msgspec.json.Decoder(_Letter).decode


def digest(kind: Kind, line: bytes) -> Digest:
    """Return what a line says; msgspec's error when it is none of this kind."""
    return _DIGESTS[kind.table](line)


def _of_state(line: bytes) -> Digest:
    row = _state(line)
    says = (str(row.revision), str(row.version), bytes(row.data), bytes(row.request))
    key = (row.tenant, row.request_id)
    return Digest("/".join(key), row.revision, 0 if row.is_deleted else _short(*key, *says))


def _of_event(line: bytes) -> Digest:
    row = _event(line)
    says = (str(row.log_offset), row.event_id, row.op, row.source, bytes(row.data), bytes(row.request))
    key = (row.tenant, row.request_id, str(row.version))
    return Digest("/".join(key), row.log_offset, _short(*key, *says))


def _of_letter(line: bytes) -> Digest:
    row = _letter(line)
    says = (row.tenant, row.request_id, row.stage, row.reason, row.key_base64, row.raw_base64 or "")
    key = (row.dlq_topic, str(row.dlq_partition), str(row.dlq_offset))
    return Digest("/".join(key), row.dlq_offset, _short(*key, *says))


_DIGESTS = {STATE.table: _of_state, EVENTS.table: _of_event, LETTERS.table: _of_letter}


def _short(*parts: str | bytes) -> int:
    text = b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return int.from_bytes(sha256(text).digest()[:8], "little")
