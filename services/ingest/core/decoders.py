"""Typed decoders: one pass in C that accepts nearly every valid body.  Pure.

They accept a subset of what is valid (no deeper than six levels, no unknown fields), and integers
that are too large: writing the event refuses those.  `faults` judges whatever is refused here.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from schemas.events import Op
from schemas.limits import MAX_KEY_LENGTH, MAX_KEYS

TYPED_DEPTH = 6
"""The nested type doubles with each level: six take milliseconds to build, sixteen would take seconds."""

REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a body that it does not accept."""

Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)]


def _fields(levels: int) -> Any:
    value: Any = None | bool | int | float | str
    for _ in range(levels - 1):
        value = None | bool | int | float | str | list[value] | dict[Key, value]
    return Annotated[dict[Key, value], Meta(max_length=MAX_KEYS)]


Fields: Any = _fields(TYPED_DEPTH)


# Unknown fields are forbidden, because msgspec does not check the UTF-8 of a value that it skips.
class RequestyBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """`{"data": {…}}`."""

    data: Fields


class GptBoostBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A vote."""

    message_id: str
    rating: Literal["positive", "negative", "amazing"]
    comment: str | None = None
    tags: list[str] | None = None


class NativeBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as Afterword itself has it."""

    request_id: str
    op: Op = Op.MERGE
    data: Fields | None = None
    request: Fields | None = None


decode_requesty = msgspec.json.Decoder(RequestyBody).decode
decode_gptboost = msgspec.json.Decoder(GptBoostBody).decode
decode_native = msgspec.json.Decoder(NativeBody).decode
decode_facts = msgspec.json.Decoder(Fields).decode
decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
