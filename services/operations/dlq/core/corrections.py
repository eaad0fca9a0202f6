"""Other bodies for events that were refused: written by a person, or with an event id of their own.  Pure.

Both keep the event's place in the order.  One version names one event, so a body may take the place only
of one that was never merged.
"""

from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import orjson

from schemas.deadletters import Reason
from schemas.events import Op
from schemas.limits import MAX_EVENT_BYTES
from services.ingest.core.errors import Rejection
from services.ingest.core.validation import Faults, parse
from services.merger.core.events import Poison, decode
from services.operations.dlq.core.letters import Letter

_VARIANT, _NOT_THE_VARIANT = 0x8 << 60, (1 << 62) - 1
_VERSION = 0x8 << 12


class UnfitError(ValueError):
    """A body that cannot take the place of the event; its text says why."""


def corrected(letter: Letter, key: bytes, original: bytes | None, body: bytes) -> bytes:
    """Return the event to be replayed instead, as ingest would have written it; UnfitError.

    It is held to what ingest accepts, since no later stage expects anything else.
    """
    try:
        given = parse(body)
        _judge(given)
        value = orjson.dumps(given)
        event = decode(key, value)
    except (Rejection, Poison) as error:
        raise UnfitError(_explained(error)) from error
    if len(value) > MAX_EVENT_BYTES:
        raise UnfitError(f"it takes {len(value):,} bytes; at most {MAX_EVENT_BYTES:,} are allowed")
    if event.op is Op.ERASE:
        raise UnfitError("an erase is sent as such, not put into the place of something else")
    if letter.reason == Reason.IDEMPOTENCY_CONFLICT and event.event_id == _event_id(key, original):
        raise UnfitError("its event_id stands for the body that came first: give it another one")
    return value


def _judge(given: Any) -> None:
    """Raise the rejection that ingest would."""
    faults = Faults()
    if isinstance(given, dict):
        for name in ("data", "request"):
            if given.get(name) is not None:
                faults.fields(name, given[name])
        faults.value("", {name: value for name, value in given.items() if name not in ("data", "request")}, 1)
    else:
        faults.add("", "must be an object")
    faults.raise_if_any()


def _explained(error: Rejection | Poison) -> str:
    if isinstance(error, Rejection) and error.faults:
        return "; ".join(f"{fault.path or 'the body'} {fault.detail}" for fault in error.faults)
    return error.detail


def _event_id(key: bytes, value: bytes | None) -> UUID | None:
    with suppress(Poison):
        return decode(key, value or b"").event_id
    return None


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def as_new_event(letter: Letter, value: bytes) -> bytes:
    """Return the event under an id of its own, which is the same one each time; all else as it was."""
    fields = _fields(value)
    fields.pop("idempotent", None)
    fields["event_id"] = msgspec.Raw(orjson.dumps(own_id(letter)))
    return msgspec.json.encode(fields)


def own_id(letter: Letter) -> UUID:
    """Return a UUIDv8 made from where the record first stood."""
    named = f"{letter.original_topic}/{letter.original_partition}/{letter.original_offset}"
    number = int.from_bytes(sha256(named.encode()).digest()[:16], "big")
    high, low = number >> 64, number & ((1 << 64) - 1)
    high = high & ~0xF000 | _VERSION
    return UUID(int=high << 64 | low & _NOT_THE_VARIANT | _VARIANT)
