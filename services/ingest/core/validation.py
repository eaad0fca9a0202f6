"""Decodes JSON bodies: typed decoders first, and an exact validation that names the path of each fault.

The typed decoders accept nearly every valid body in one pass in C, but only a subset: no more than six levels
and no unknown fields.  They also accept integers that are too large, which encoding the event rejects.
A body that they refuse goes through `parse` and `Faults`, which may be slow and alone define what is valid.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import orjson
from msgspec import Meta

from schemas.events import Op
from schemas.limits import MAX_DEPTH, MAX_INTEGER, MAX_KEY_LENGTH, MAX_KEYS, MIN_INTEGER
from services.ingest.core.errors import BodyFault, Code, Rejection, invalid

TYPED_DEPTH = 6
"""The type doubles with each level: six levels take milliseconds to build, sixteen would take seconds."""

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Raised by a decoder for a body that it does not accept."""

Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_LENGTH)]


def _fields(levels: int, number: Any = float) -> Any:
    scalar = None | bool | int | number | str
    value: Any = scalar
    for _ in range(levels - 1):
        value = scalar | list[value] | dict[Key, value]
    return Annotated[dict[Key, value], Meta(max_length=MAX_KEYS)]


Fields: Any = _fields(TYPED_DEPTH)
_FINITE = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]


class FiniteFields(msgspec.Struct, gc=False):
    """Decoded fields without infinities.  msgspec keeps what it knows of a type only for structs."""

    fields: _fields(TYPED_DEPTH, _FINITE)  # type: ignore[valid-type]


def are_valid(fields: Any) -> bool:
    """Return whether decoded fields are certainly valid, but for integers and texts that no event can hold.

    Encoding the event rejects those.  False for fields that only `Faults` can judge.
    """
    try:
        msgspec.convert({"fields": fields}, FiniteFields)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


# Unknown fields are forbidden, because msgspec does not check the UTF-8 of a value that it skips.
class RequestyBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A body in Requesty's dialect: `{"data": {…}}`."""

    data: Fields


class GptBoostBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A vote in GPTBoost's dialect."""

    message_id: str
    rating: Literal["positive", "negative", "amazing"]
    comment: str | None = None
    tags: list[str] | None = None


class NativeBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event in the native dialect."""

    request_id: str
    op: Op = Op.MERGE
    data: Fields | None = None
    request: Fields | None = None
    item_id: str | None = None
    at: str | int | float | None = None


decode_requesty = msgspec.json.Decoder(RequestyBody).decode
decode_gptboost = msgspec.json.Decoder(GptBoostBody).decode
decode_native = msgspec.json.Decoder(NativeBody).decode
decode_facts = msgspec.json.Decoder(Fields).decode
decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


MOST_FAULTS = 20
"""Validation of a body stops after this many faults."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some programs write it in front of UTF-8; RFC 8259 (8.1) lets a reader ignore it."""

_SHOWN_KEY_LENGTH = 40
_LONGEST_INTEGER = 21
"""Characters of an integer that can be in range; converting longer ones would take quadratic time."""

_name = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_surrogate = re.compile("[\ud800-\udfff]")


def parse(body: bytes) -> Any:
    """Return the JSON value of a body; the last of duplicate keys wins.  Raises Rejection.

    Numbers out of range are returned as infinities or huge integers, so that `Faults` can name their path.
    """
    try:
        text = body.removeprefix(BYTE_ORDER_MARK).decode()
        return json.loads(text, parse_int=_integer, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Rejection(Code.MALFORMED_JSON, f"not UTF-8: byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Rejection(Code.MALFORMED_JSON, f"{error.msg.removesuffix(' at')} ({where})") from None
    except RecursionError:
        raise invalid(BodyFault("", f"is nested deeper than {MAX_DEPTH} levels")) from None


def decoded(body: bytes) -> Any:
    """Return the JSON value of a body, as `parse` does, but in a tenth of its time if nothing is wrong."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return parse(body)


def _integer(text: str) -> int:
    if len(text) <= _LONGEST_INTEGER:
        return int(text)
    return MIN_INTEGER - 1 if text[0] == "-" else MAX_INTEGER + 1


def _no_constant(name: str) -> NoReturn:
    raise Rejection(Code.MALFORMED_JSON, f"{name} is not JSON: numbers are finite")


class Faults:
    """Collects the faults of one body, in the order of its text."""

    def __init__(self) -> None:
        self.faults: list[BodyFault] = []

    def add(self, path: str, detail: str) -> None:
        """Record a fault."""
        self.faults.append(BodyFault(path, detail))

    @property
    def is_full(self) -> bool:
        """Whether validation can stop."""
        return len(self.faults) >= MOST_FAULTS

    def raise_if_any(self) -> None:
        """Raise Rejection if any fault was recorded."""
        if self.faults:
            raise invalid(*self.faults[:MOST_FAULTS])

    def fields(self, path: str, value: Any) -> None:
        """Validate an object of free-form keys: `data` or `request`."""
        if not isinstance(value, dict):
            self.add(path, f"must be an object, not {json_type(value)}")
            return
        if len(value) > MAX_KEYS:
            self.add(path, f"has {len(value)} keys; at most {MAX_KEYS} are allowed")
        self.value(path, value, 1)

    def value(self, path: str, value: Any, depth: int) -> None:
        """Validate any JSON value; `depth` is its level if it is an object or a list."""
        if isinstance(value, dict | list):
            self._container(path, value, depth)
        elif isinstance(value, str):
            self.text(path, value)
        elif isinstance(value, int):
            if not MIN_INTEGER <= value <= MAX_INTEGER:
                self.add(path, "is an integer outside -2^63 to 2^64-1")
        elif isinstance(value, float) and not math.isfinite(value):
            self.add(path, "is a number too large for 64 bits")

    def text(self, path: str, value: str) -> None:
        """Validate a string."""
        if _surrogate.search(value):
            self.add(path, "contains half of a surrogate pair, which is not valid Unicode")

    def _container(self, path: str, value: dict[str, Any] | list[Any], depth: int) -> None:
        if depth > MAX_DEPTH:
            self.add(path, f"is nested deeper than {MAX_DEPTH} levels")
            return
        for inner, item in self._members(path, value):
            if self.is_full:
                return
            self.value(inner, item, depth + 1)

    def _members(self, path: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
        if isinstance(value, list):
            yield from ((f"{path}[{index}]", item) for index, item in enumerate(value))
            return
        for key, item in value.items():
            inner = member_path(path, key)
            if not 0 < len(key) <= MAX_KEY_LENGTH:
                self.add(inner, f"is a key of {len(key)} characters; 1 to {MAX_KEY_LENGTH} are allowed")
            self.text(inner, key)
            yield inner, item


def member_path(path: str, key: str) -> str:
    """Return the path of a member, such as `data.tags` or `data["two words"]`; long keys are truncated."""
    shown = key if len(key) <= _SHOWN_KEY_LENGTH else key[:_SHOWN_KEY_LENGTH] + "…"
    shown = _surrogate.sub("\ufffd", shown)
    if not _name.match(shown):
        return f"{path}[{json.dumps(shown, ensure_ascii=False)}]"
    return f"{path}.{shown}" if path else shown


def json_type(value: Any) -> str:
    """Return the type of a JSON value in words, for error messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return kinds.get(type(value), "a number")
