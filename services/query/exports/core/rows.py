"""Rows of an export: their columns, their SELECT, and ClickHouse's TabSeparated text cut into rows.

A text format, because it costs ClickHouse and Python least: no value is built before it is needed.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from services.query.reads.core import sql
from services.query.reads.core.filters import Filters
from services.query.reads.core.sql import where
from services.runtime.clickhouse.core.statement import SqlParameters, Statement


class TextKind(Enum):
    """The type of a column's text.  An empty text is NULL, except in text columns."""

    TEXT = "any text"
    VERSION = "a whole number up to 2^64"
    TIME = "RFC 3339 in UTC with microseconds"
    NUMBER = "a number of JSON"
    FLAG = "true or false"
    TEXTS = "a JSON array of texts"
    OBJECT = "a JSON object"


class ExportColumn(NamedTuple):
    """A column of an export."""

    name: str
    kind: TextKind

    @property
    def sql(self) -> str:
        """The selected expression, without an alias, which would shadow the column in conditions."""
        return f"toJSONString({self.name})" if self.kind is TextKind.TEXTS else self.name


_KINDS = {
    "version": TextKind.VERSION,
    "rating": TextKind.NUMBER,
    "helpful": TextKind.FLAG,
    "latency_ms": TextKind.NUMBER,
    "cost_usd": TextKind.NUMBER,
    "sources": TextKind.TEXTS,
    "tags": TextKind.TEXTS,
    "data": TextKind.OBJECT,
    "request": TextKind.OBJECT,
}

COLUMNS = tuple(
    ExportColumn(name, _KINDS.get(name, TextKind.TIME if name.endswith("_at") else TextKind.TEXT))
    for name in sql.COLUMNS
    if name != "tenant"
)
"""The columns of the view `feedback`, without the tenant."""

NAMES = tuple(column.name for column in COLUMNS)

NULLABLE = ("rating", "helpful", "latency_ms", "cost_usd", "started_at")


_SELECTED = ", ".join(column.sql for column in COLUMNS)


@dataclass(frozen=True)
class ExportSelection:
    """The rows to export: those of `filters` after the request id `after`, at most `limit`."""

    tenant: str
    filters: Filters
    after: str = ""
    limit: int | None = None

    def following(self, request_id: str, rows: int) -> "ExportSelection":
        """Return the rest after `rows` rows, the last of which has this request id."""
        limit = None if self.limit is None else self.limit - rows
        return replace(self, after=request_id or self.after, limit=limit)


def statement(wanted: ExportSelection) -> Statement:
    """Return the SELECT: the rows by request id, each with the total number at the beginning.

    That is the order of the table's key, so ClickHouse streams rows without sorting.
    """
    values = SqlParameters()
    condition = where(wanted.tenant, wanted.filters, values).sql
    if wanted.after:
        condition += f" AND request_id > {values.place(wanted.after, 'String')}"
    rows = f"FROM feedback_state FINAL WHERE {condition}"
    limit = "" if wanted.limit is None else f" LIMIT {wanted.limit:d}"
    return Statement(
        f"SELECT {_SELECTED}, (SELECT count() {rows}) {rows} ORDER BY tenant, request_id{limit}",
        values.parameters,
    )


Row = list[str]
"""The texts of a row, in the order of COLUMNS."""

_FIELDS = len(COLUMNS) + 1
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0"}
_CODE = re.compile(r"Code: ([0-9]+)")


class BrokenAnswerError(Exception):
    """A result with a line that is not a row: ClickHouse failed within it, or ended early.

    `code` is ClickHouse's error code, or None.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.strip()[:500])
        found = _CODE.search(text)
        self.code = int(found[1]) if found else None


class RowParser:
    """Cuts blocks into rows.  Each line has one more field, the same in all: the total number of rows."""

    def __init__(self) -> None:
        self.total: int | None = None
        """The number of rows when ClickHouse began; None before the first row."""
        self._rest = b""
        self._last = ""

    def feed(self, block: bytes) -> list[Row]:
        """Return the rows that end in this block; raise BrokenAnswerError for other lines."""
        whole, newline, rest = block.rpartition(b"\n")
        if not newline:
            self._rest += block
            return []
        text = (self._rest + whole).decode(errors="replace")
        self._rest = rest
        lines = text.split("\n")
        return [self._row(line, lines, number) for number, line in enumerate(lines)]

    def end(self) -> None:
        """Raise BrokenAnswerError if the result ended within a row."""
        if self._rest:
            raise BrokenAnswerError(self._rest.decode(errors="replace"))

    def _row(self, line: str, lines: list[str], number: int) -> Row:
        row = line.split("\t")
        last = row.pop()
        if self.total is None and last.isdecimal():
            self.total, self._last = int(last), last
        if len(row) + 1 != _FIELDS or last != self._last:
            raise BrokenAnswerError("\n".join(lines[number:]))
        if "\\" in line:
            row = [_ESCAPED.sub(_unescaped, text) if "\\" in text else text for text in row]
        return row


def _unescaped(found: re.Match[str]) -> str:
    return _MEANT.get(found[1], found[1])
