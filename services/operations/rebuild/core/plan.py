"""What a rebuild would do, whether ClickHouse has room for it, and how an interrupted one is cleaned up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from services.operations.core.system_tables import LiveTable
from services.operations.exits import CommandError
from services.operations.rebuild.core.scope import RebuildScope, RebuildTable, TopicRange
from services.operations.rebuild.core.statements import BUILDING, FEEDS, GATE

RECORDS_PER_SECOND = 12_000
"""What a rebuild was seen to do on two busy cores; a guess for others."""
ROOM = 1.5
"""A new table has smaller parts until they are merged."""
GIB = 1 << 30


@dataclass(frozen=True)
class TablePlan:
    """One table, and what the log has for it."""

    kind: RebuildTable
    bytes: int
    rows: int
    ranges: tuple[TopicRange, ...]
    kept: int
    """Bytes of an old table that an earlier rebuild kept."""

    @property
    def records(self) -> int:
        """How many offsets are to be read."""
        return sum(one.records for one in self.ranges)


@dataclass(frozen=True)
class RebuildPlan:
    """What would be done."""

    scope: RebuildScope
    parts: tuple[TablePlan, ...]
    free: int
    keep_old: bool

    @property
    def needed(self) -> int:
        """How many bytes it takes on ClickHouse's disk at most."""
        sizes = [int(part.bytes * ROOM) for part in self.parts]
        return sum(sizes) if self.keep_old and self.scope.is_everything else max(sizes, default=0)

    def check_room(self) -> None:
        """Raise CommandError when ClickHouse's disk would run full."""
        if self.needed > self.free:
            raise CommandError(
                f"ClickHouse's disk has {_size(self.free)} left, and a second copy of the tables takes up to"
                f" {_size(self.needed)}.  Make room (`afterword rebuild --drop-old` drops what an earlier one"
                " kept), do one --table at a time with --no-keep-old, or one --tenant at a time."
            )

    def lines(self) -> list[str]:
        """Return the plan in words."""
        how = "made anew beside the live table, then swapped" if self.scope.is_everything else "put right"
        lines = [
            f"{part.kind.table}: {part.rows:,} rows, {_size(part.bytes)}; {how} from {part.records:,} records"
            f" of {', '.join(f'{one.topic}' for one in part.ranges) or 'no topic'}"
            for part in self.parts
        ]
        seconds = sum(part.records for part in self.parts) / RECORDS_PER_SECOND
        lines.append(
            f"About {_time(seconds)} at {RECORDS_PER_SECOND:,} records/s; up to {_size(self.needed)} more on"
            f" ClickHouse's disk, which has {_size(self.free)} left."
        )
        lines += [
            f"{part.kind.kept} ({_size(part.kept)}), which an earlier rebuild kept, will be dropped."
            for part in self.parts
            if part.kept and self.scope.is_everything
        ]
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return the plan for scripts."""
        return {
            "scope": str(self.scope),
            "tables": [
                {
                    "table": part.kind.table,
                    "rows": part.rows,
                    "bytes": part.bytes,
                    "records": part.records,
                    "topics": [one.topic for one in part.ranges],
                }
                for part in self.parts
            ],
            "bytes_needed": self.needed,
            "bytes_free": self.free,
            "seconds": round(sum(part.records for part in self.parts) / RECORDS_PER_SECOND),
        }


def plan(
    scope: RebuildScope,
    ranges: Mapping[RebuildTable, Sequence[TopicRange]],
    sizes: Mapping[str, tuple[int, int]],
    free: int,
    *,
    keep_old: bool,
) -> RebuildPlan:
    """Return the plan; CommandError when a table has no topic to be made from."""
    parts = []
    for kind, several in ranges.items():
        if not several:
            raise CommandError(
                f"Kafka has none of the topics that {kind.table} is made from, so nothing was changed: it"
                " would come out empty.  `afterword recover` replaces a lost topic."
            )
        size, rows = sizes.get(kind.table, (0, 0))
        kept, _ = sizes.get(kind.kept, (0, 0))
        parts.append(TablePlan(kind, size, rows, tuple(several), kept))
    return RebuildPlan(scope, tuple(parts), free, keep_old)


def _size(count: int) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= GIB // 10 else f"{count / (1 << 20):,.1f} MiB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


class CleanupStep(Enum):
    """What to do next about a table before it can be rebuilt."""

    OPEN_GATE = "open the gate"
    MARK = "mark the shadow as incomplete"
    DROP_FEED = "drop the feed"
    DROP_SHADOW = "drop the shadow"
    DROP_SCRATCH = "drop the scratch table"
    FINISH = "drop the feed of a swap that is done"
    KEEP = "keep the old table under its last name"


DONE_BEFORE = frozenset({CleanupStep.FINISH, CleanupStep.KEEP})
"""Steps that end a rebuild whose swap is done: the live table is the new one."""


def next_step(kind: RebuildTable, found: Mapping[str, LiveTable]) -> CleanupStep | None:
    """Return the first thing to clean up, None when there are no leftovers of an earlier rebuild.

    The swap is what decides: before it all is thrown away, after it all is kept.  The feed's comment names
    the shadow that it was made for, so it shows which side that is on now.
    """
    live, shadow, feed = (found.get(name) for name in (kind.table, kind.shadow, kind.feed))
    if live is not None and GATE in live.definition:
        return CleanupStep.OPEN_GATE
    if feed is not None:
        return _with_feed(live, shadow, feed)
    if shadow is not None:
        return CleanupStep.DROP_SHADOW if shadow.comment == BUILDING else CleanupStep.KEEP
    return CleanupStep.DROP_SCRATCH if kind.scratch in found else None


def _with_feed(live: LiveTable | None, shadow: LiveTable | None, feed: LiveTable) -> CleanupStep:
    if live is not None and feed.comment == FEEDS + live.uuid:
        return CleanupStep.FINISH
    if shadow is not None and shadow.comment != BUILDING:
        return CleanupStep.MARK
    return CleanupStep.DROP_FEED
