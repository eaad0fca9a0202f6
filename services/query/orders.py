"""In which order rows are listed, and what stands after a row in it.  Pure.

Every order is total: rows that are equal in a column are ordered by `request_id`, in the same direction.
Rows without a value come last, whichever the direction.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from services.query.problems import Fault, invalid
from services.query.statements import Places

TIME = "DateTime64(6, 'UTC')"


class Column(NamedTuple):
    """A column to order by: its type, apart from whether a row may lack a value."""

    kind: str
    nullable: bool = False


COLUMNS: dict[str, Column] = {
    "last_received_at": Column(TIME),
    "first_received_at": Column(TIME),
    "started_at": Column(TIME, nullable=True),
    "rating": Column("Float64", nullable=True),
    "latency_ms": Column("Float64", nullable=True),
    "cost_usd": Column("Float64", nullable=True),
    "model": Column("String"),
    "user_id": Column("String"),
    "request_id": Column("String"),
}
"""What rows can be ordered by."""

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
        """What follows ORDER BY."""
        way = "DESC" if self.descending else "ASC"
        nulls = " NULLS LAST" if COLUMNS[self.column].nullable else ""
        first = "" if self.column == "request_id" else f"{self.column} {way}{nulls}, "
        return f"{first}request_id {way}"

    def position(self, row: dict[str, Any]) -> Position:
        """Return where a row stands."""
        return Position(row[self.column], row["request_id"])

    def after(self, position: Position, places: Places) -> str:
        """Return the condition of the rows that come after a position."""
        return self._beyond(position, places, "<" if self.descending else ">")

    def up_to(self, position: Position, places: Places) -> str:
        """Return the condition of the rows that come before a position, or stand there."""
        return f"NOT ({self.after(position, places)})"

    def _beyond(self, position: Position, places: Places, beyond: str) -> str:
        id_beyond = f"request_id {beyond} {places.place(position.request_id, 'String')}"
        if self.column == "request_id":
            return id_beyond
        if position.value is None:
            return f"(isNull({self.column}) AND {id_beyond})"
        place = self._place(position.value, places)
        # The first condition alone is one that an index understands.
        kept = f"{self.column} {beyond}= {place} AND ({self.column} {beyond} {place} OR {id_beyond})"
        return f"ifNull({kept}, 1)" if COLUMNS[self.column].nullable else f"({kept})"

    def _place(self, value: Any, places: Places) -> str:
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
