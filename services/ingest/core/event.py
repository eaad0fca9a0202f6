"""Makes an event from a submission: its id, its time, its bytes, and warnings about its facts.

Encoding is the last check: orjson refuses what no later stage could read.  A fact whose typed column cannot
hold its value is stored all the same, and the answer warns about it; `unread` in the DDL of `feedback_state`
names the same keys.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from typing import Any

import orjson

from schemas.instants import FORMS, instant_of
from schemas.limits import END_OF_TIMES, MAX_EVENT_BYTES
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.validation import Faults
from services.ingest.dialects.dialect import Submission

_COUNTER_BITS = 26
_LOW_BITS = 14
_VARIANT = 0x8000
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1
_LOW_MASK = (1 << _LOW_BITS) - 1


class Stamp:
    """Makes a UUIDv7 and an RFC 3339 time from one reading of the clock.

    RFC 9562 6.2: 48 bits of milliseconds, a counter of 26 bits, and 48 random bits of this process.
    The counter is not reset each millisecond, so an id repeats only after 2^26 events in one of them.
    Each process needs its own instance: a fork would share the random bits.
    """

    def __init__(self, node: bytes) -> None:
        """`node` is at least nine random bytes."""
        self._node = "-" + node[:6].hex()
        self._count = int.from_bytes(node[6:9], "big")
        self._microsecond = self._second = self._high = -1
        self._date = self._received_at = self._before = ""

    def __call__(self, nanoseconds: int) -> tuple[str, str]:
        """Return (event_id, received_at) for a time in nanoseconds since 1970."""
        self._count = count = (self._count + 1) & _COUNTER_MASK
        microsecond = nanoseconds // 1000
        if microsecond != self._microsecond or count >> _LOW_BITS != self._high:
            self._turn(microsecond, count >> _LOW_BITS)
        return f"{self._before}{count & _LOW_MASK | _VARIANT:04x}{self._node}", self._received_at

    def _turn(self, microsecond: int, high: int) -> None:
        """Update the text that consecutive events share."""
        self._microsecond, self._high = microsecond, high
        second, rest = divmod(microsecond, 1_000_000)
        if second != self._second:
            self._second = second
            self._date = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        digits = f"{microsecond // 1000:012x}"
        self._before = f"{digits[:8]}-{digits[8:]}-7{high:03x}-"
        self._received_at = f"{self._date}{rest:06d}Z"


def idempotent_id(tenant: str, request_id: str, idempotency_key: str, index: int) -> str:
    """Return a UUIDv8 from the SHA-256 of the arguments, so that a repeated call gets the same id.

    `index` is the position in the batch, 0 for a single event.  No argument can contain the separator.
    """
    named = "\0".join((tenant, request_id, idempotency_key, str(index)))
    digits = sha256(named.encode()).hexdigest()
    variant = int(digits[16], 16) & 0x3 | 0x8
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant:x}{digits[17:20]}-{digits[20:32]}"


MAX_IDEMPOTENCY_KEY_LENGTH = 256


def event_bytes(
    tenant: str, source: str, submission: Submission, event_id: str, received_at: str, *, idempotent: bool
) -> bytes:
    """Return the event as JSON; raise Rejection if it exceeds MAX_EVENT_BYTES or cannot be encoded."""
    request_id, data, request, op, item_id, at = submission
    event: dict[str, Any] = {
        "event_id": event_id,
        "tenant": tenant,
        "request_id": request_id,
        "received_at": received_at,
        "source": source,
        "op": op,
    }
    if data is not None:
        event["data"] = data
    if request is not None:
        event["request"] = request
    if item_id:
        event["item_id"] = item_id
    if at:
        event["at"] = at
    if idempotent:
        event["idempotent"] = True
    try:
        value = orjson.dumps(event)
    except TypeError:
        raise _refused(submission) from None
    if len(value) > MAX_EVENT_BYTES:
        raise Rejection(
            Code.TOO_LARGE, f"the event takes {len(value)} bytes; at most {MAX_EVENT_BYTES} are allowed"
        )
    return value


def _refused(submission: Submission) -> Rejection:
    """Return the rejection that names an integer out of range, which the typed decoders accept."""
    faults = Faults()
    for name, fields in (("data", submission.data), ("request", submission.request)):
        if fields is not None:
            faults.fields(name, fields)
    try:
        faults.raise_if_any()
    except Rejection as rejection:
        return rejection
    raise AssertionError("orjson refused a valid event")


def idempotency_key(header: bytes) -> str:
    """Return the value of an Idempotency-Key header, or raise Rejection."""
    if not 0 < len(header) <= MAX_IDEMPOTENCY_KEY_LENGTH or not all(0x20 <= byte < 0x7F for byte in header):
        raise Rejection(
            Code.INVALID_FEEDBACK,
            f"Idempotency-Key: 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} visible ASCII characters are allowed",
        )
    return header.decode()


_NUMBERS = (float, int, type(None))
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


_USUAL = re.compile(
    r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
"""Matches most times in a fraction of the time that parsing takes."""
_USUAL_SECONDS = int(END_OF_TIMES.timestamp())


def column_warnings(facts: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return a warning, with `key` and `detail`, for each fact whose typed column cannot hold its value."""
    if not facts:
        return []
    warnings = []
    for name, (accepts, accepted) in _COLUMNS.items():
        if name in facts and not accepts(facts[name]):
            detail = f"the value is stored, but its column stays empty: it takes {accepted}"
            warnings.append({"key": f"request.{name}", "detail": detail})
    return warnings


def _is_time(value: Any) -> bool:
    if type(value) is str:
        return _USUAL.fullmatch(value) is not None or not value or instant_of(value) is not None
    if value is None or (type(value) in _NUMBERS and 0 <= value < _USUAL_SECONDS):
        return True
    return instant_of(value) is not None


def _is_number(value: Any) -> bool:
    if type(value) is str:
        return not value or (_NUMBER.fullmatch(value) is not None and isfinite(float(value)))
    return type(value) in _NUMBERS


_COLUMNS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "started_at": (_is_time, FORMS),
    "latency_ms": (_is_number, "a number of milliseconds"),
    "cost_usd": (_is_number, "a number of US dollars"),
}
