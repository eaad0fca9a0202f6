"""What a rebuild would do, and whether ClickHouse has room for it.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.operations.exits import CommandError
from services.operations.rebuild.core.kinds import Kind
from services.operations.rebuild.core.scope import Reach, Scope

RECORDS_PER_SECOND = 12_000
"""What a rebuild was seen to do on two busy cores; a guess for others."""
ROOM = 1.5
"""A new table has merges before it, and lies in smaller parts until then."""
GIB = 1 << 30


@dataclass(frozen=True)
class Part:
    """One table, and what the log has for it."""

    kind: Kind
    bytes: int
    rows: int
    reaches: tuple[Reach, ...]
    kept: int
    """Bytes of an old table that an earlier rebuild kept."""

    @property
    def records(self) -> int:
        """How many offsets are to be read."""
        return sum(one.records for one in self.reaches)


@dataclass(frozen=True)
class Plan:
    """What would be done."""

    scope: Scope
    parts: tuple[Part, ...]
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
        told = [
            f"{part.kind.table}: {part.rows:,} rows, {_size(part.bytes)}; {how} from {part.records:,} records"
            f" of {', '.join(f'{one.topic}' for one in part.reaches) or 'no topic'}"
            for part in self.parts
        ]
        seconds = sum(part.records for part in self.parts) / RECORDS_PER_SECOND
        told.append(
            f"About {_time(seconds)} at {RECORDS_PER_SECOND:,} records/s; up to {_size(self.needed)} more on"
            f" ClickHouse's disk, which has {_size(self.free)} left."
        )
        told += [
            f"{part.kind.kept} ({_size(part.kept)}), which an earlier rebuild kept, will be dropped."
            for part in self.parts
            if part.kept and self.scope.is_everything
        ]
        return told

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
                    "topics": [one.topic for one in part.reaches],
                }
                for part in self.parts
            ],
            "bytes_needed": self.needed,
            "bytes_free": self.free,
            "seconds": round(sum(part.records for part in self.parts) / RECORDS_PER_SECOND),
        }


def plan(
    scope: Scope,
    reaches: Mapping[Kind, Sequence[Reach]],
    sizes: Mapping[str, tuple[int, int]],
    free: int,
    *,
    keep_old: bool,
) -> Plan:
    """Return the plan; CommandError when a table has no topic to be made from."""
    parts = []
    for kind, several in reaches.items():
        if not several:
            raise CommandError(
                f"Kafka has none of the topics that {kind.table} is made from, so nothing was changed: it"
                " would come out empty.  A lost topic is mended by `afterword recover`."
            )
        size, rows = sizes.get(kind.table, (0, 0))
        kept, _ = sizes.get(kind.kept, (0, 0))
        parts.append(Part(kind, size, rows, tuple(several), kept))
    return Plan(scope, tuple(parts), free, keep_old)


def _size(count: int) -> str:
    return f"{count / GIB:,.1f} GiB" if count >= GIB // 10 else f"{count / (1 << 20):,.1f} MiB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
