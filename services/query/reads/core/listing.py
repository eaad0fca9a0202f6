"""Lists of rows: total orders, cursors, and the statements of a page.

Every order is total: rows that are equal in a column are ordered by `request_id`, in the same direction.
Rows without a value come last in both directions.  A cursor holds the value and the id of the last row of
its page, is valid for the same tenant, filters and order, and never expires: nothing is stored for it.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from services.query.core.problems import ParamFault, invalid
from services.query.reads.core.filters import Filters, to_parameters
from services.query.reads.core.sql import SELECTED, where
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

TIME = "DateTime64(6, 'UTC')"


class OrderColumn(NamedTuple):
    """A column to order by: its type, and whether it is nullable."""

    kind: str
    nullable: bool = False
    prefix: int = 0
    """How many leading characters are compared, to keep cursors short; 0: all."""


COLUMNS: dict[str, OrderColumn] = {
    "last_received_at": OrderColumn(TIME),
    "first_received_at": OrderColumn(TIME),
    "started_at": OrderColumn(TIME, nullable=True),
    "rating": OrderColumn("Float64", nullable=True),
    "latency_ms": OrderColumn("Float64", nullable=True),
    "cost_usd": OrderColumn("Float64", nullable=True),
    "model": OrderColumn("String", prefix=100),
    "user_id": OrderColumn("String", prefix=100),
    "request_id": OrderColumn("String"),
}
"""What rows can be ordered by."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def _is_time(value: Any) -> bool:
    """Return whether a value of a cursor is a time as ClickHouse formats it.

    Of any year: a walk has to continue after every stored row.
    """
    try:
        return bool(isinstance(value, str) and _TIME.fullmatch(value) and datetime.fromisoformat(value))
    except ValueError:
        return False


_KINDS: dict[str, Callable[[Any], bool]] = {
    TIME: _is_time,
    "Float64": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "String": lambda value: isinstance(value, str),
}

DEFAULT_ORDER = "-last_received_at"
ORDER_NAMES = tuple(f"{sign}{column}" for column in COLUMNS for sign in ("-", ""))


@dataclass(frozen=True)
class ListPosition:
    """A position in an order: the value in its column, and the request id."""

    value: Any
    """Text, a number or None, as in the JSON of a row."""
    request_id: str


@dataclass(frozen=True)
class RowOrder:
    """A column to order by."""

    column: str
    descending: bool

    @property
    def name(self) -> str:
        """The value of the parameter `order`."""
        return f"-{self.column}" if self.descending else self.column

    @property
    def sql(self) -> str:
        """The ORDER BY clause."""
        way = "DESC" if self.descending else "ASC"
        nulls = " NULLS LAST" if COLUMNS[self.column].nullable else ""
        first = "" if self.column == "request_id" else f"{self.key} {way}{nulls}, "
        return f"{first}request_id {way}"

    @property
    def key(self) -> str:
        """The expression that is compared."""
        prefix = COLUMNS[self.column].prefix
        return f"leftUTF8({self.column}, {prefix})" if prefix else self.column

    def position(self, row: dict[str, Any]) -> ListPosition:
        """Return the position of a row."""
        value, prefix = row[self.column], COLUMNS[self.column].prefix
        return ListPosition(value[:prefix] if prefix else value, row["request_id"])

    def has(self, position: ListPosition) -> bool:
        """Return whether a position is valid in this order: cursors come from clients."""
        column = COLUMNS[self.column]
        if position.value is None:
            return column.nullable
        return _KINDS[column.kind](position.value)

    def after(self, position: ListPosition, places: SqlParameters) -> str:
        """Return the condition of the rows that come after a position."""
        return self._beyond(position, places, "<" if self.descending else ">")

    def up_to(self, position: ListPosition, places: SqlParameters) -> str:
        """Return the condition of the rows up to and including a position."""
        return f"NOT ({self.after(position, places)})"

    def _beyond(self, position: ListPosition, places: SqlParameters, beyond: str) -> str:
        id_beyond = f"request_id {beyond} {places.place(position.request_id, 'String')}"
        if self.column == "request_id":
            return id_beyond
        if position.value is None:
            return f"(isNull({self.key}) AND {id_beyond})"
        place = self._place(position.value, places)
        # Only the first condition can use an index.
        kept = f"{self.key} {beyond}= {place} AND ({self.key} {beyond} {place} OR {id_beyond})"
        return f"ifNull({kept}, 1)" if COLUMNS[self.column].nullable else f"({kept})"

    def _place(self, value: Any, places: SqlParameters) -> str:
        kind = COLUMNS[self.column].kind
        if kind == TIME:
            value = str(value).replace("T", " ").removesuffix("Z")
        return places.place(value, kind)


def parse_order(text: str) -> RowOrder:
    """Return the order with this name; raise QueryProblem if there is none."""
    column = text.removeprefix("-")
    if column not in COLUMNS:
        raise invalid(ParamFault("order", f"{text[:40]!r} is none of {', '.join(ORDER_NAMES)}"))
    return RowOrder(column, descending=text.startswith("-"))


FORMAT = b"\x01"
"""The first byte of every cursor: the version of its format."""

MAX_LENGTH = 8192
_SUM = 6

FOREIGN = (
    "it belongs to another query: repeat the filters and the order of its page, or start from the first page"
)
BROKEN = "it is not a `next_cursor` of this service: repeat it unchanged, or start from the first page"


def encode(tenant: str, filters: Filters, order: RowOrder, position: ListPosition) -> str:
    """Return the cursor of a page that ends at a position."""
    content = FORMAT + orjson.dumps([_mark(tenant, filters, order), position.value, position.request_id])
    return urlsafe_b64encode(content + _sum(content)).decode().rstrip("=")


def decode(cursor: str, tenant: str, filters: Filters, order: RowOrder) -> ListPosition:
    """Return the position in a cursor; raise QueryProblem if it is invalid or of another query."""
    mark, value, request_id = _opened(cursor)
    if mark != _mark(tenant, filters, order):
        raise invalid(ParamFault("cursor", FOREIGN))
    if not isinstance(request_id, str) or not order.has(ListPosition(value, request_id)):
        raise invalid(ParamFault("cursor", BROKEN))
    return ListPosition(value, request_id)


def _opened(cursor: str) -> tuple[Any, Any, Any]:
    try:
        whole = urlsafe_b64decode(cursor[:MAX_LENGTH] + "=" * (-len(cursor) % 4))
        content = whole[:-_SUM]
        if content.startswith(FORMAT) and whole.endswith(_sum(content)):
            mark, value, request_id = orjson.loads(content[len(FORMAT) :])
            return mark, value, request_id
    except (ValueError, TypeError):
        pass
    raise invalid(ParamFault("cursor", BROKEN))


def _sum(content: bytes) -> bytes:
    """Return a checksum that detects a truncated or changed cursor; it is no protection against forging."""
    return blake2b(content, digest_size=_SUM).digest()


def _mark(tenant: str, filters: Filters, order: RowOrder) -> str:
    asked = [tenant, order.name, sorted(to_parameters(filters))]
    return blake2b(orjson.dumps(asked), digest_size=9).hexdigest()


MAX_IDS = 100
"""The most ids in one parameter: ClickHouse accepts 128 KiB of each."""


@dataclass(frozen=True)
class Listing:
    """The tenant, the filters and the order of a list."""

    tenant: str
    filters: Filters
    order: RowOrder


def places_after(listing: Listing, start: ListPosition | None, count: int) -> Statement:
    """Return the statement for the next positions in the order, those of old versions included."""
    values = SqlParameters()
    condition = _condition(listing, start, None, values)
    column = "" if listing.order.column == "request_id" else f", {listing.order.column}"
    return Statement(
        f"SELECT request_id{column} FROM feedback_state WHERE {condition} "
        f"ORDER BY {listing.order.sql} LIMIT {count}",
        values.parameters,
    )


def rows_of(listing: Listing, ids: list[str], start: ListPosition | None, end: ListPosition) -> Statement:
    """Return the statement for the final rows of some ids after `start`, up to `end`."""
    values = SqlParameters()
    condition = _condition(listing, start, end, values)
    among = " OR ".join(f"request_id IN {values.place(part, 'Array(String)')}" for part in _parts(ids))
    return Statement(
        f"SELECT {SELECTED} FROM feedback_state FINAL WHERE {condition} AND ({among}) "
        f"ORDER BY {listing.order.sql}",
        values.parameters,
    )


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]


def rows_after(listing: Listing, start: ListPosition | None, count: int) -> Statement:
    """Return the statement for the final rows after a position, at the cost of FINAL over the tenant."""
    values = SqlParameters()
    condition = _condition(listing, start, None, values)
    return Statement(
        f"SELECT {SELECTED} FROM feedback_state FINAL WHERE {condition} "
        f"ORDER BY {listing.order.sql} LIMIT {count}",
        values.parameters,
    )


def _condition(
    listing: Listing, start: ListPosition | None, end: ListPosition | None, values: SqlParameters
) -> str:
    parts = [where(listing.tenant, listing.filters, values).sql]
    if start is not None:
        parts.append(listing.order.after(start, values))
    if end is not None:
        parts.append(listing.order.up_to(end, values))
    return " AND ".join(parts)
