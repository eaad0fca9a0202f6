"""Whose open pages have to look again, and what has to be asked to know.  Pure.

The sink writes how far it is after every batch: while that does not move, nothing has changed, and one look
at a tiny table says so.  When it has moved, rows tell by when they were stored whose they are.  What is put
there past the sink (a dead letter, by hand) is found by a look now and then.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from services.query.reads.core.sql import moment
from services.runtime.clickhouse.core.statement import Statement

OVERLAP = timedelta(seconds=10)
"""How long an insert may take: rows are stamped when it begins, and seen when it is done."""

ANYWAY = timedelta(seconds=15)
"""How long nothing may have moved before rows are looked for all the same."""

LOOK = Statement(
    "SELECT now64(6) AS at, toString(groupArray((topic, partition, position))) AS positions "
    "FROM (SELECT topic, partition, max(position) AS position "
    f"FROM {SINK_POSITIONS} GROUP BY topic, partition ORDER BY topic, partition)"
)
"""Where the sink is, and what time it is at ClickHouse: the clock that stamps rows."""

_SHOWN = (FEEDBACK_STATE, FEEDBACK_EVENTS, DEAD_LETTERS)


@dataclass(frozen=True)
class Look:
    """What a look saw."""

    at: datetime
    positions: str


@dataclass(frozen=True)
class Known:
    """What is known: the positions seen last, and up to when rows were looked for."""

    positions: str
    asked_at: datetime

    @classmethod
    def first(cls, look: Look) -> "Known":
        """Return what the first look tells: pages opened from now on show everything up to it."""
        return cls(look.positions, look.at)

    def is_enough(self, look: Look) -> bool:
        """Tell whether nothing has to be asked after this look."""
        return look.positions == self.positions and look.at - self.asked_at < ANYWAY

    def since(self) -> datetime:
        """Return from when on rows may be ones that no look has seen."""
        return self.asked_at - OVERLAP


def changed(tenants: Collection[str], since: datetime) -> Statement:
    """Return the question which of the tenants have rows stored since a time."""
    sql = " UNION DISTINCT ".join(
        f"SELECT DISTINCT tenant FROM {table} "
        "WHERE tenant IN {tenants:Array(String)} AND stored_at > {since:DateTime64(6, 'UTC')}"
        for table in _SHOWN
    )
    return Statement(sql, {"tenants": sorted(tenants), "since": moment(since)})
