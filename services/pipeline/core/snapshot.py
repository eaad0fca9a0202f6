"""The positions of all stages at one moment, from which barriers, the watermark and lag are computed.

An end is that of everything written (the high watermark), not of what is committed: Kafka commits the
merger's offset before the marker that commits the rows of the same transaction is in every partition, so
that the committed end of the state may still be before the row for a moment.  The sink reads only what is
committed, so a stored position at the end of everything written has the row behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.tables import SINK_POSITIONS
from services.runtime.clickhouse.core.statement import Statement


@dataclass(frozen=True)
class PipelineSnapshot:
    """All positions, read in the order of these fields.  An offset is the next record's; absent means 0.

    `at` is when the reading began (UTC).  By partition: `logged`, the end of the events; `merged`, what the
    merger has committed; `states`, the end of the states; `stored_states` and `stored_events`, what the sink
    has stored.  By topic: `letters`, the ends of the dead letters, and `stored_letters`.
    """

    at: datetime
    logged: Mapping[int, int]
    merged: Mapping[int, int]
    states: Mapping[int, int]
    stored_states: Mapping[int, int]
    stored_events: Mapping[int, int]
    letters: Mapping[str, int]
    stored_letters: Mapping[str, int]
    generation: int = 0
    """The topic generation that all of these belong to."""

    def lags(self) -> dict[str, int]:
        """Return how many offsets each stage has yet to read, by the stage's name."""
        return {
            "merger": _lag(self.logged, self.merged),
            "sink-state": _lag(self.states, self.stored_states),
            "sink-events": _lag(self.logged, self.stored_events),
            "sink-dlq": _lag(self.letters, self.stored_letters),
        }


def stored_positions(topics: list[str]) -> Statement:
    """Return the statement that reads how far the sink has stored each partition of these topics.

    Rows are `topic`, `partition` and `position`, the offset of the next record to store.
    """
    sql = (
        f"SELECT topic, partition, max(position) AS position FROM {SINK_POSITIONS}"  # noqa: S608 (our table)
        " WHERE topic IN {topics:Array(String)} GROUP BY topic, partition"
    )
    return Statement(sql, {"topics": topics})


def _lag(ends: Mapping[Any, int], positions: Mapping[Any, int]) -> int:
    return sum(max(0, end - positions.get(key, 0)) for key, end in ends.items())
