"""Where a page ended, as text that the next question repeats.  Pure.

A cursor holds the order's value and the id of the last row, which its reader has seen, and nothing of any
other.  It holds for the same tenant, filters and order, and for ever: nothing is stored for it.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Any

import orjson

from services.query.core.problems import Fault, invalid
from services.query.reads.core.filters import Filters, to_parameters
from services.query.reads.core.orders import Order, Position

FORMAT = b"\x01"
"""The first byte of every cursor: a release that means something else by it says so."""

MAX_LENGTH = 8192
_SUM = 6

FOREIGN = (
    "it is of another question: repeat the filters and the order of the page that gave it, or start anew"
)
BROKEN = "it is no `next_cursor` of this service: repeat the text of the answer as it is, or start anew"


def encode(tenant: str, filters: Filters, order: Order, position: Position) -> str:
    """Return the cursor of a page that ended at a position."""
    content = FORMAT + orjson.dumps([_mark(tenant, filters, order), position.value, position.request_id])
    return urlsafe_b64encode(content + _sum(content)).decode().rstrip("=")


def decode(cursor: str, tenant: str, filters: Filters, order: Order) -> Position:
    """Return where the page ended that gave a cursor to this very question; raise Problem for any other."""
    mark, value, request_id = _opened(cursor)
    if mark != _mark(tenant, filters, order):
        raise invalid(Fault("cursor", FOREIGN))
    if not isinstance(request_id, str) or not order.has(Position(value, request_id)):
        raise invalid(Fault("cursor", BROKEN))
    return Position(value, request_id)


def _opened(cursor: str) -> tuple[Any, Any, Any]:
    try:
        whole = urlsafe_b64decode(cursor[:MAX_LENGTH] + "=" * (-len(cursor) % 4))
        content = whole[:-_SUM]
        if content.startswith(FORMAT) and whole.endswith(_sum(content)):
            mark, value, request_id = orjson.loads(content[len(FORMAT) :])
            return mark, value, request_id
    except (ValueError, TypeError):
        pass
    raise invalid(Fault("cursor", BROKEN))


def _sum(content: bytes) -> bytes:
    """Return what shows that a cursor was cut or changed on its way; it keeps nobody from writing one."""
    return blake2b(content, digest_size=_SUM).digest()


def _mark(tenant: str, filters: Filters, order: Order) -> str:
    asked = [tenant, order.name, sorted(to_parameters(filters))]
    return blake2b(orjson.dumps(asked), digest_size=9).hexdigest()
