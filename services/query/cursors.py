"""Where a page ended, as text that the next question repeats.  Pure.

A cursor holds the order's value and the id of the last row, which its reader has seen, and a mark of what
was asked.  It holds for the same tenant, filters and order, and for ever: nothing is stored for it.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson

from services.query.filters import Filters, to_parameters
from services.query.orders import COLUMNS, TIME, Order, Position
from services.query.problems import Fault, invalid

FORMAT = 1
"""The first member of every cursor: a release that means something else by it says so."""

MAX_LENGTH = 4096

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)

FOREIGN = "it is a cursor of another question: repeat the filters and the order of the page that gave it"
BROKEN = "it is not a `next_cursor` of this service: repeat the text of the answer, percent-encoded"


def encode(tenant: str, filters: Filters, order: Order, position: Position) -> str:
    """Return the cursor of a page that ended at a position."""
    content = [FORMAT, _mark(tenant, filters, order), position.value, position.request_id]
    return urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def decode(cursor: str, tenant: str, filters: Filters, order: Order) -> Position:
    """Return where the page ended that gave a cursor to this very question; raise Problem for any other."""
    content = _opened(cursor)
    if content[1] != _mark(tenant, filters, order):
        raise invalid(Fault("cursor", FOREIGN))
    position = Position(content[2], content[3])
    if not isinstance(content[3], str) or not _fits(position, order):
        raise invalid(Fault("cursor", BROKEN))
    return position


def _opened(cursor: str) -> list[Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content: Any = orjson.loads(urlsafe_b64decode(padded)) if len(cursor) <= MAX_LENGTH else None
    except ValueError:
        content = None
    if not isinstance(content, list) or len(content) != 4 or content[0] != FORMAT:
        raise invalid(Fault("cursor", BROKEN))
    return content


def _fits(position: Position, order: Order) -> bool:
    """Tell whether a row can stand there: whoever writes a cursor by hand gets no error from ClickHouse."""
    column, value = COLUMNS[order.column], position.value
    if value is None:
        return column.nullable
    if column.kind == TIME:
        return isinstance(value, str) and _is_time(value)
    return isinstance(value, str if column.kind == "String" else int | float) and not isinstance(value, bool)


def _is_time(text: str) -> bool:
    try:
        return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def _mark(tenant: str, filters: Filters, order: Order) -> str:
    asked = [tenant, order.name, sorted(to_parameters(filters))]
    return blake2b(orjson.dumps(asked), digest_size=9).hexdigest()
