"""The items of a batch, still unread.  Pure."""

from typing import NamedTuple

from schemas.limits import MAX_BODY_BYTES, MIB
from services.ingest.media import Kind
from services.ingest.rejections import Code, Rejection
from services.ingest.shapes import REFUSED, decode_items

MAX_ITEMS = 100_000
"""Events in one batch."""

ITEM_BYTES = 600
"""What an item takes beside its bytes while its batch is worked on: its parts, its event, its answer."""

MAX_COMMAS = 4 * MIB
"""In a JSON array: each could be an item of two bytes, and an unread item takes 70."""


class Item(NamedTuple):
    """One item.  Its place is its index in the array, or its line, from 0, blank lines counted."""

    place: int
    body: bytes


def is_array(body: bytes) -> bool:
    """Tell whether a JSON body is an array."""
    return (body[:64].lstrip() or body.lstrip())[:1] == b"["


def items_of(kind: Kind, body: bytes) -> list[Item]:
    """Return the items of a batch, or raise Rejection when it cannot be taken apart, or has too many."""
    if kind is Kind.LINES:
        return _lines(body)
    if body.count(b",") > MAX_COMMAS:
        raise Rejection(Code.TOO_LARGE, "the array holds too many values; send it in parts, or as NDJSON")
    try:
        raws = decode_items(body)
    except REFUSED as error:
        raise Rejection(Code.MALFORMED_JSON, f"the array cannot be read: {error}") from None
    return _bounded([Item(place, bytes(raw)) for place, raw in enumerate(raws)])


def _lines(body: bytes) -> list[Item]:
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
