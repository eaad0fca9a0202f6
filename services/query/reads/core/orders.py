"""In which order rows are listed, and what stands after a row in it.  Pure.

Every order is total: rows that are equal in a column are ordered by `request_id`, in the same direction.
Rows without a value come last, whichever the direction.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from services.query.core.problems import Fault, invalid
from services.runtime.clickhouse.core.statement import SqlParameters

TIME = "DateTime64(6, 'UTC')"


class Column(NamedTuple):
    """A column to order by: its type, apart from whether a row may lack a value."""

    kind: str
    nullable: bool = False
    prefix: int = 0
    """How many characters of a text of any length decide, so that a cursor stays short; 0: all of them."""


COLUMNS: dict[str, Column] = {
    "last_received_at": Column(TIME),
    "first_received_at": Column(TIME),
    "started_at": Column(TIME, nullable=True),
    "rating": Column("Float64", nullable=True),
    "latency_ms": Column("Float64", nullable=True),
    "cost_usd": Column("Float64", nullable=True),
    "model": Column("String", prefix=100),
    "user_id": Column("String", prefix=100),
    "request_id": Column("String"),
}
"""What rows can be ordered by."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def _is_time(value: Any) -> bool:
    """Tell whether a value of a cursor can be a row's time as ClickHouse writes it.

    Of any year: a walk goes on behind every row that is stored, whatever time it has.
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

DEFAULT = "-last_received_at"
NAMES = tuple(f"{sign}{column}" for column in COLUMNS for sign in ("-", ""))


@dataclass(frozen=True)
class Position:
    """A place in an order: the row with this value in the order's column, and this id."""

    value: Any
    """Text, a number or None, as a row's JSON has it."""
    request_id: str


@dataclass(frozen=True)
class Order:
    """A column to order by."""

    column: str
    descending: bool

    @property
    def name(self) -> str:
        """As the parameter says it."""
        return f"-{self.column}" if self.descending else self.column

    @property
    def sql(self) -> str:
        """What follows ORDER BY; `key` is its first part."""
        way = "DESC" if self.descending else "ASC"
        nulls = " NULLS LAST" if COLUMNS[self.column].nullable else ""
        first = "" if self.column == "request_id" else f"{self.key} {way}{nulls}, "
        return f"{first}request_id {way}"

    @property
    def key(self) -> str:
        """What is compared."""
        prefix = COLUMNS[self.column].prefix
        return f"leftUTF8({self.column}, {prefix})" if prefix else self.column

    def position(self, row: dict[str, Any]) -> Position:
        """Return where a row stands."""
        value, prefix = row[self.column], COLUMNS[self.column].prefix
        return Position(value[:prefix] if prefix else value, row["request_id"])

    def has(self, position: Position) -> bool:
        """Tell whether a row of this order can stand there: a cursor may have been written by anybody."""
        column = COLUMNS[self.column]
        if position.value is None:
            return column.nullable
        return _KINDS[column.kind](position.value)

    def after(self, position: Position, places: SqlParameters) -> str:
        """Return the condition of the rows that come after a position."""
        return self._beyond(position, places, "<" if self.descending else ">")

    def up_to(self, position: Position, places: SqlParameters) -> str:
        """Return the condition of the rows that come before a position, or stand there."""
        return f"NOT ({self.after(position, places)})"

    def _beyond(self, position: Position, places: SqlParameters, beyond: str) -> str:
        id_beyond = f"request_id {beyond} {places.place(position.request_id, 'String')}"
        if self.column == "request_id":
            return id_beyond
        if position.value is None:
            return f"(isNull({self.key}) AND {id_beyond})"
        place = self._place(position.value, places)
        # The first condition alone is one that an index understands.
        kept = f"{self.key} {beyond}= {place} AND ({self.key} {beyond} {place} OR {id_beyond})"
        return f"ifNull({kept}, 1)" if COLUMNS[self.column].nullable else f"({kept})"

    def _place(self, value: Any, places: SqlParameters) -> str:
        kind = COLUMNS[self.column].kind
        if kind == TIME:
            value = str(value).replace("T", " ").removesuffix("Z")
        return places.place(value, kind)


def parse_order(text: str) -> Order:
    """Return the order with this name; raise Problem for one that there is not."""
    column = text.removeprefix("-")
    if column not in COLUMNS:
        raise invalid(Fault("order", f"{text[:40]!r} is none of {', '.join(NAMES)}"))
    return Order(column, descending=text.startswith("-"))
