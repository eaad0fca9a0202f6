"""The one SELECT of an export.  Pure."""

from dataclasses import dataclass, replace

from services.query.exports.core.columns import COLUMNS
from services.query.reads.core.filters import Filters
from services.query.reads.core.sql import where
from services.runtime.clickhouse.core.statement import SqlParameters, Statement

_SELECTED = ", ".join(column.sql for column in COLUMNS)


@dataclass(frozen=True)
class Wanted:
    """Which rows are exported: those of `filters` after the request id `after`, at most `limit`."""

    tenant: str
    filters: Filters
    after: str = ""
    limit: int | None = None

    def following(self, request_id: str, rows: int) -> "Wanted":
        """Return what is left once so many rows, the last of this id, have been read."""
        limit = None if self.limit is None else self.limit - rows
        return replace(self, after=request_id or self.after, limit=limit)


def statement(wanted: Wanted) -> Statement:
    """Return the question: the rows in the order of their ids, and beside each how many there were at first.

    That order is the table's own, so ClickHouse sends rows as it reads them and sorts none.
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
