"""The exact, slow judgement of a body, with the path of each fault.  Pure.

The typed decoders of `shapes` accept nearly everything that is valid in one pass; whatever they
refuse is judged again here.  So this module alone decides what is accepted, and it may be slow.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta

from schemas.events import Op
from schemas.limits import MAX_DEPTH, MAX_INTEGER, MAX_KEY_LENGTH, MAX_KEYS, MIN_INTEGER
from services.ingest.core.errors import Code, Fault, Rejection, invalid

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


MOST_FAULTS = 20
"""A body is judged no further after that many."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some programs write it before UTF-8: RFC 8259 (8.1) lets a reader ignore it."""

_SHOWN_KEY_LENGTH = 40
_LONGEST_INTEGER = 21
"""Characters of an integer that can be in range; longer ones are never converted, which is quadratic."""

_name = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_surrogate = re.compile("[\ud800-\udfff]")


def parse(body: bytes) -> Any:
    """Return the JSON value of a body; the last of duplicate keys wins.

    Numbers out of range come back as infinities or huge integers, for the walk to name their path.
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
        raise invalid(Fault("", f"is nested deeper than {MAX_DEPTH} levels")) from None


def _integer(text: str) -> int:
    if len(text) <= _LONGEST_INTEGER:
        return int(text)
    return MIN_INTEGER - 1 if text[0] == "-" else MAX_INTEGER + 1


def _no_constant(name: str) -> NoReturn:
    raise Rejection(Code.MALFORMED_JSON, f"{name} is not JSON: numbers are finite")


class Faults:
    """Collects what is wrong with one body, in the order of its text."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, path: str, detail: str) -> None:
        """Note one fault."""
        self.found.append(Fault(path, detail))

    @property
    def full(self) -> bool:
        """Tell that nobody reads further."""
        return len(self.found) >= MOST_FAULTS

    def verdict(self) -> None:
        """Raise the rejection, if anything is wrong."""
        if self.found:
            raise invalid(*self.found[:MOST_FAULTS])

    def fields(self, path: str, value: Any) -> None:
        """Judge an object of free-form keys: `data` or `request`."""
        if not isinstance(value, dict):
            self.add(path, f"must be an object, not {kind_of(value)}")
            return
        if len(value) > MAX_KEYS:
            self.add(path, f"has {len(value)} keys; at most {MAX_KEYS} are allowed")
        self.value(path, value, 1)

    def value(self, path: str, value: Any, depth: int) -> None:
        """Judge any JSON value; `depth` is the level that it is on if it is an object or a list."""
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
        """Judge a string."""
        if _surrogate.search(value):
            self.add(path, "contains half of a surrogate pair, which is no Unicode text")

    def _container(self, path: str, value: dict[str, Any] | list[Any], depth: int) -> None:
        if depth > MAX_DEPTH:
            self.add(path, f"is nested deeper than {MAX_DEPTH} levels")
            return
        for inner, item in self._members(path, value):
            if self.full:
                return
            self.value(inner, item, depth + 1)

    def _members(self, path: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
        if isinstance(value, list):
            yield from ((f"{path}[{index}]", item) for index, item in enumerate(value))
            return
        for key, item in value.items():
            inner = joined(path, key)
            if not 0 < len(key) <= MAX_KEY_LENGTH:
                self.add(inner, f"is a key of {len(key)} characters; 1 to {MAX_KEY_LENGTH} are allowed")
            self.text(inner, key)
            yield inner, item


def joined(path: str, key: str) -> str:
    """Return the path of a member: `data.tags`, or `data["two words"]`; long keys are cut."""
    shown = key if len(key) <= _SHOWN_KEY_LENGTH else key[:_SHOWN_KEY_LENGTH] + "…"
    shown = _surrogate.sub("\ufffd", shown)
    if not _name.match(shown):
        return f"{path}[{json.dumps(shown, ensure_ascii=False)}]"
    return f"{path}.{shown}" if path else shown


def kind_of(value: Any) -> str:
    """Return what a JSON value is, for people."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return kinds.get(type(value), "a number")
