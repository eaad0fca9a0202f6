"""The checksum of a line for the sink, and the same in SQL, of the row made from it.

One checksum a table, for `verify` (row by row) and `rebuild` (summed up over a table).  Events have theirs in
`services/reconciliation/core/events.py`, because the sink's continuous check uses it.  All are ClickHouse's
`halfMD5`: they look for accidents, not for forgers, and are never stored.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Raw

from services.reconciliation.core.events import half_md5

_EMPTY = Raw(b"{}")


class StateLine(msgspec.Struct):
    """A state, or a line for `feedback_state`, as far as it is compared."""

    tenant: str
    request_id: str
    revision: int = 0
    version: int = 0
    first_received_at: datetime | None = None
    last_received_at: datetime | None = None
    sources: list[str] = []
    data: Raw = _EMPTY
    request: Raw = _EMPTY
    is_deleted: int = 0


class LetterLine(msgspec.Struct):
    """A line for `dead_letters`, as far as it is compared."""

    dlq_topic: str
    dlq_partition: int
    dlq_offset: int
    tenant: str
    request_id: str
    key_base64: str
    raw_base64: str | None
    stage: str = ""
    reason: str = ""
    original_partition: int = 0
    original_offset: int = 0


state_line = msgspec.json.Decoder(StateLine).decode
letter_line = msgspec.json.Decoder(LetterLine).decode

STATE_SQL = "halfMD5(concat(arrayStringConcat(sources, '\\x1f'), '\\x1e', data, '\\x1e', request))"
"""What `state_checksum` is, of a row of `feedback_state`."""
LETTER_SQL = (
    "halfMD5(concat(base64Encode(key), '\\x1f', if(isNull(raw), 'null', base64Encode(assumeNotNull(raw))),"
    " '\\x1f', stage, '\\x1f', reason, '\\x1f', toString(original_partition), '\\x1f',"
    " toString(original_offset)))"
)
"""What `letter_checksum` is, of a row of `dead_letters`."""


def state_checksum(sources: Sequence[str], data: bytes, request: bytes) -> int:
    """Return the checksum of a state's content; its version and its times are compared beside it."""
    return half_md5(b"\x1e".join(("\x1f".join(sources).encode(), data, request)))


def letter_checksum(line: LetterLine) -> int:
    """Return the checksum of a dead letter's content."""
    raw = "null" if line.raw_base64 is None else line.raw_base64
    places = str(line.original_partition), str(line.original_offset)
    return half_md5("\x1f".join((line.key_base64, raw, line.stage, line.reason, *places)).encode())
