"""The columns of an export, and what the texts of each are.  Pure."""

from enum import Enum
from typing import NamedTuple

from services.query.reads.core import rows


class Kind(Enum):
    """What the text of a column holds.  An empty one is NULL, unless it is a text itself."""

    TEXT = "any text"
    VERSION = "a whole number up to 2^64"
    TIME = "RFC 3339 in UTC with microseconds"
    NUMBER = "a number of JSON"
    FLAG = "true or false"
    TEXTS = "a JSON array of texts"
    OBJECT = "a JSON object"


class Column(NamedTuple):
    """A column, by the name that it has everywhere."""

    name: str
    kind: Kind

    @property
    def sql(self) -> str:
        """What is selected, without an alias: that would take the place of the column in conditions."""
        return f"toJSONString({self.name})" if self.kind is Kind.TEXTS else self.name


_KINDS = {
    "version": Kind.VERSION,
    "rating": Kind.NUMBER,
    "helpful": Kind.FLAG,
    "latency_ms": Kind.NUMBER,
    "cost_usd": Kind.NUMBER,
    "sources": Kind.TEXTS,
    "tags": Kind.TEXTS,
    "data": Kind.OBJECT,
    "request": Kind.OBJECT,
}

COLUMNS = tuple(
    Column(name, _KINDS.get(name, Kind.TIME if name.endswith("_at") else Kind.TEXT))
    for name in rows.COLUMNS
    if name != "tenant"
)
"""As the view `feedback` has them; the tenant is the reader's own."""

NAMES = tuple(column.name for column in COLUMNS)

NULLABLE = ("rating", "helpful", "latency_ms", "cost_usd", "started_at")
