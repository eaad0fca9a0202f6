"""The items of a batch, still unread.  Pure."""

import re
from typing import NamedTuple

from schemas.limits import MAX_BODY_BYTES, MIB
from services.ingest.core.decoders import REFUSED, decode_items
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.media import Kind

MAX_ITEMS = 100_000
"""Events in one batch."""

ITEM_BYTES = 600
"""What an item takes beside its bytes while its batch is worked on: its parts, its event, its answer."""

MAX_COMMAS = 4 * MIB
"""In a JSON array: each could be an item of two bytes, and an unread item takes 70."""

MAX_BRACKETS = MIB
"""In an array of which an item is no JSON: each is a step of a loop."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
# What ends an item, or is a bracket, behind anything that is neither; commas inside of an item are skipped.
_OUTER_MARK = re.compile(rb'(?:[^"\[\]{},]++|%b)*+([\[\]{},])' % _STRING, re.DOTALL)
_INNER_MARK = re.compile(rb'(?:[^"\[\]{}]++|%b)*+([\[\]{}])' % _STRING, re.DOTALL)
_OPENING = {b"]": b"[", b"}": b"{"}
_BLANKS = b" \t\r\n"


class Item(NamedTuple):
    """One item.  Its place is its index in the array, or its line, from 0, blank lines counted."""

    place: int
    body: bytes


class BrokenArray(Rejection):
    """An array of which not everything is JSON: its items may still be told apart."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Code.MALFORMED_JSON, f"the array cannot be read: {error}")


def is_array(body: bytes) -> bool:
    """Tell whether a JSON body is an array."""
    return (body[:64].lstrip() or body.lstrip())[:1] == b"["


def items_of(kind: Kind, body: bytes) -> list[Item]:
    """Return the items of a batch; raise Rejection when it has too many, BrokenArray for `taken_apart`."""
    if kind is Kind.LINES:
        return _lines(body)
    if body.count(b",") > MAX_COMMAS:
        raise Rejection(Code.TOO_LARGE, "the array holds too many values; send it in parts, or as NDJSON")
    try:
        raws = decode_items(body)
    except REFUSED as error:
        raise BrokenArray(error) from None
    return _bounded([Item(place, bytes(raw)) for place, raw in enumerate(raws)])


def taken_apart(body: bytes, broken: BrokenArray) -> list[Item]:
    """Return the items of an array of which some are no JSON, by nothing but its brackets and strings.

    Each is judged by itself later, which names its fault.  Raises `broken` where the array itself has no end,
    or its brackets do not match.  Takes up to half a second.
    """
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        raise broken
    start = at = body.index(b"[") + 1
    items: list[Item] = []
    depth: list[bytes] = []
    while found := (_INNER_MARK if depth else _OUTER_MARK).match(body, at):
        mark, at = found[1], found.end()
        if mark in b"[{":
            depth.append(mark)
        elif depth:
            if mark != b"," and depth.pop() != _OPENING[mark]:
                break
        elif mark == b"}":
            break
        else:
            items.append(Item(len(items), body[start : at - 1].strip(_BLANKS)))
            start = at
            if len(items) > MAX_ITEMS:
                raise _too_many()
            if mark == b"]":
                if body[at:].strip(_BLANKS):
                    break
                return items
    raise broken


def _lines(body: bytes) -> list[Item]:
    if not body:  # what a body looks like that something in front has lost
        raise Rejection(Code.MALFORMED_JSON, "the body is empty: send a line for each event")
    if body.count(b"\n") > 2 * MAX_ITEMS:
        raise _too_many()
    return _bounded([item for item in map(Item._make, enumerate(body.split(b"\n"))) if item.body.strip()])


def _bounded(items: list[Item]) -> list[Item]:
    if len(items) > MAX_ITEMS:
        raise _too_many()
    return items


def _too_many() -> Rejection:
    return Rejection(Code.TOO_LARGE, f"a batch has at most {MAX_ITEMS} events; send it in parts")


def check_size(item: Item) -> None:
    """Raise Rejection for an item that would be too large as a body of its own."""
    if len(item.body) > MAX_BODY_BYTES:
        raise Rejection(Code.TOO_LARGE, f"the event is larger than {MAX_BODY_BYTES} bytes")
