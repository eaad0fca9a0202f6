"""Where to start reading a partition.  Pure.

Two places remember how far it is stored: ClickHouse, beside the rows, and Kafka, as the group's offset.
ClickHouse's is written first and tells what is really there; Kafka's is what operators can move.  Reading
again changes no row, so the lower one is always right:

- ClickHouse restored from an older backup: its position is lower, and what it lost is read again.
- ClickHouse empty, or its positions truncated: all that the log holds is read again.
- the group's offsets reset by an operator: that is a wish to read again.
- the group's offsets expired: ClickHouse's position stands.
"""

from services.pipeline.core.continuity import LogRange


def start(stored: int | None, committed: int | None, log: LogRange) -> int:
    """Return the offset of the first record to read; None means that nothing is remembered."""
    if stored is None:
        return log.start
    return stored if committed is None else min(stored, committed)
