"""Thrift's compact protocol, as far as the headers of Parquet need it: values in, bytes out.  Pure."""

from collections.abc import Sequence
from typing import NamedTuple

_I8, _I32, _I64, _BINARY, _LIST, _STRUCT = 3, 5, 6, 8, 9, 12


class Value(NamedTuple):
    """A value of Thrift: the number of its type, and its bytes."""

    type: int
    data: bytes


TRUE, FALSE = Value(1, b""), Value(2, b"")
"""Each is a type of its own."""


def varint(number: int) -> bytes:
    """Return a number that is not negative in groups of seven bits, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def i8(number: int) -> Value:
    """Return a signed byte."""
    return Value(_I8, number.to_bytes(1, "little", signed=True))


def i32(number: int) -> Value:
    """Return an integer of 32 bits."""
    return Value(_I32, _zigzag(number))


def i64(number: int) -> Value:
    """Return an integer of 64 bits."""
    return Value(_I64, _zigzag(number))


def binary(data: bytes | str) -> Value:
    """Return bytes, or a text."""
    raw = data.encode() if isinstance(data, str) else data
    return Value(_BINARY, varint(len(raw)) + raw)


def listed(values: Sequence[Value]) -> Value:
    """Return a list of values of one type; an empty one is of structs."""
    kind, size = values[0].type if values else _STRUCT, len(values)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + varint(size)
    return Value(_LIST, head + b"".join([value.data for value in values]))


def struct(fields: dict[int, Value | None]) -> Value:
    """Return a struct of the fields that are not None, by their numbers, which must rise by 15 at most."""
    out, last = bytearray(), 0
    for number, value in fields.items():
        if value is not None:
            out.append(number - last << 4 | value.type)
            out += value.data
            last = number
    return Value(_STRUCT, bytes(out) + b"\0")
