"""Fills a table beside the live one from the log, and asks ClickHouse whether it has just what was read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from schemas.tables import ERASED_REQUESTS
from services.operations.exits import CommandError
from services.operations.progress import Bar
from services.operations.rebuild.copying import Copied, Copier
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.kinds import LETTERS, STATE, Kind
from services.operations.rebuild.core.scope import Reach, Scope
from services.operations.rebuild.core.scoped import scoped
from services.operations.rebuild.core.tally import Sum, Tally
from services.operations.rebuild.engine import Engine
from services.operations.rebuild.log import Log, Source
from services.runtime.clickhouse.core.statement import Clause
from services.runtime.clickhouse.insert import RowWriter

MOST_LATER = 200_000
"""Keys that may change while the sums are taken; with more, what came meanwhile is read first."""
TRIES = 5
PART_ROWS = 2_000_000
"""Keys that ClickHouse holds in memory at once."""


@dataclass(frozen=True)
class Bench:
    """What a rebuild works with."""

    engine: Engine
    log: Log
    writer: RowWriter
    bar: Bar


@dataclass(frozen=True)
class Built:
    """A table that was filled: from where, up to where, and what that came to."""

    kind: Kind
    table: str
    sources: Sequence[Source]
    reaches: Sequence[Reach]
    copied: Copied
    total: Sum


async def build(bench: Bench, kind: Kind, table: str, scope: Scope) -> Built:
    """Fill an empty table with what the log says; CommandError when the sums do not agree in the end."""
    sources = await bench.log.sources(kind)
    reaches = await bench.log.reaches(sources)
    with Tally() as tally:
        copier = Copier(bench.log.settings, bench.writer, kind, table, tally, scope)
        bench.bar.begin(f"{kind.table}: reading the log", sum(one.records for one in reaches))
        await copier.copy(sources, reaches, bench.bar.moved)
        for _ in range(TRIES):
            reaches = await _catch_up(bench, copier, sources, reaches)
            bench.bar.begin(f"{kind.table}: comparing", None)
            total = await _agreed(bench.engine, kind, table, reaches, tally, copier.copied)
            if total is not None:
                return Built(kind, table, sources, reaches, copier.copied, total)
    raise CommandError(
        f"{table} does not hold what was read of the log, so nothing was swapped.  Is another program writing"
        " to it?  The same call begins anew, and `afterword rebuild --abort` cleans up."
    )


async def _catch_up(
    bench: Bench, copier: Copier, sources: Sequence[Source], before: Sequence[Reach]
) -> list[Reach]:
    """Read what came meanwhile.  A key that compaction took away under the reading has come again there."""
    now = await bench.log.reaches(sources)
    ends = {one.topic: one.ends for one in before}
    rest = [replace(one, starts=ends[one.topic]) for one in now]
    bench.bar.begin(f"{copier.table}: reading what came meanwhile", sum(one.records for one in rest))
    await copier.copy(sources, rest, bench.bar.moved)
    return now


async def _agreed(
    engine: Engine, kind: Kind, table: str, reaches: Sequence[Reach], tally: Tally, copied: Copied
) -> Sum | None:
    unsummed = sorted(copied.unsummed)
    (found,) = await engine.rows(statements.summed(kind, table, reaches, MOST_LATER, unsummed))
    later = found["later"]
    if len(later) >= MOST_LATER:
        return None
    expected = tally.total({*later, *unsummed})
    return expected if Sum(found["rows"], found["checksum"]) == expected else None


async def carry_over(
    bench: Bench, built: Built, names: Sequence[str], scope: Scope, *, unknown: bool
) -> None:
    """Copy what the live table has and the log cannot know: rows from before its start, erasures, marks.

    `unknown` carries over all that the log does not know.
    """
    kind, table = built.kind, built.table
    now = await bench.log.reaches(built.sources)
    condition = "1" if unknown else _carried(kind, now)
    mine = scoped(kind, replace(scope, since=None, until=None))
    clause = Clause(f"{mine.sql} AND ({condition})", mine.parameters)
    shares = await parts(bench.engine, kind)
    bench.bar.begin(f"{kind.table}: carrying over what the log does not have", shares)
    for part in range(shares):
        await bench.engine.change(statements.carry_over(kind, table, names, clause, part, shares))
        bench.bar.moved(1)
    if kind is LETTERS:
        await bench.engine.change(statements.marked(names, table, table, Clause("1")))
    await forget(bench.engine, kind, table)


async def forget(engine: Engine, kind: Kind, table: str) -> None:
    """Leave out what was erased."""
    erased = statements.forget_erased(kind, table)
    if erased is not None and ERASED_REQUESTS in await engine.tables():
        await engine.change(erased)


def _carried(kind: Kind, reaches: Sequence[Reach]) -> str:
    if kind is STATE:
        return f"is_deleted OR NOT ({statements.of_readable(kind, reaches)})"
    return statements.before_starts(kind, reaches)


async def parts(engine: Engine, kind: Kind) -> int:
    """Return into how many parts to cut questions about all keys."""
    _, rows = (await engine.sizes()).get(kind.table, (0, 0))
    return max(1, ceil(rows / PART_ROWS))
