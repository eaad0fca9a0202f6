"""Fills a table beside the live one from the log, and swaps it in with no gap, while traffic flows.

ClickHouse is asked whether the new table has just what was read, before anything is swapped.  From the feed
on, whatever the sink inserts goes to both tables, so all that the shadow lacks is in the log by then.
ClickHouse shows an insert in the live table a moment before the feed has copied it, and a swap in that moment
would take rows away again.  So inserts are refused for the moment of the swap, and those under way end before
it; for the sink that is like a restart of ClickHouse.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from schemas.tables import ERASED_REQUESTS
from services.operations.database import Database
from services.operations.exits import CommandError
from services.operations.progress import ProgressBar
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.checksum import ChecksumTally, TableSum
from services.operations.rebuild.core.plan import DONE_BEFORE, CleanupStep, next_step
from services.operations.rebuild.core.report import SwappedTable
from services.operations.rebuild.core.scope import LETTERS, STATE, RebuildScope, RebuildTable, TopicRange
from services.operations.rebuild.core.statements import scoped
from services.operations.rebuild.log import RebuildLog, RouteTopics
from services.operations.rebuild.log_copy import CopyResult, LogCopier
from services.runtime.clickhouse.core.statement import Clause
from services.runtime.clickhouse.insert import RowWriter

MOST_LATER = 200_000
"""Keys that may change while the sums are taken; with more, what came meanwhile is read first."""
TRIES = 5
PART_ROWS = 2_000_000
"""Keys that ClickHouse holds in memory at once."""


@dataclass(frozen=True)
class RebuildTools:
    """The connections of a rebuild, and its progress bar."""

    database: Database
    log: RebuildLog
    writer: RowWriter
    bar: ProgressBar


@dataclass(frozen=True)
class BuiltTable:
    """A table that was filled: from which topics, up to which offsets, and their checksum."""

    kind: RebuildTable
    table: str
    sources: Sequence[RouteTopics]
    ranges: Sequence[TopicRange]
    copied: CopyResult
    total: TableSum


async def build(tools: RebuildTools, kind: RebuildTable, table: str, scope: RebuildScope) -> BuiltTable:
    """Fill an empty table from the log; CommandError when the sums still differ after `TRIES`."""
    sources = await tools.log.sources(kind)
    ranges = await tools.log.ranges(sources)
    with ChecksumTally() as tally:
        copier = LogCopier(tools.log.settings, tools.writer, kind, table, tally, scope)
        tools.bar.begin(f"{kind.table}: reading the log", sum(one.records for one in ranges))
        await copier.copy(sources, ranges, tools.bar.moved)
        for _ in range(TRIES):
            ranges = await _catch_up(tools, copier, sources, ranges)
            tools.bar.begin(f"{kind.table}: comparing", None)
            total = await _agreed(tools.database, kind, table, ranges, tally, copier.copied)
            if total is not None:
                return BuiltTable(kind, table, sources, ranges, copier.copied, total)
    raise CommandError(
        f"{table} does not hold what was read of the log, so nothing was swapped.  Is another program writing"
        " to it?  The same call starts over, and `afterword rebuild --abort` cleans up."
    )


async def _catch_up(
    tools: RebuildTools, copier: LogCopier, sources: Sequence[RouteTopics], before: Sequence[TopicRange]
) -> list[TopicRange]:
    """Read what came meanwhile.  A key that compaction took away under the reading has come again there."""
    now = await tools.log.ranges(sources)
    ends = {one.topic: one.ends for one in before}
    rest = [replace(one, starts=ends[one.topic]) for one in now]
    tools.bar.begin(f"{copier.table}: reading what came meanwhile", sum(one.records for one in rest))
    await copier.copy(sources, rest, tools.bar.moved)
    return now


async def _agreed(
    database: Database,
    kind: RebuildTable,
    table: str,
    ranges: Sequence[TopicRange],
    tally: ChecksumTally,
    copied: CopyResult,
) -> TableSum | None:
    unsummed = sorted(copied.unsummed)
    (found,) = await database.rows(statements.summed(kind, table, ranges, MOST_LATER, unsummed))
    later = found["later"]
    if len(later) >= MOST_LATER:
        return None
    expected = tally.total({*later, *unsummed})
    return expected if TableSum(found["rows"], found["checksum"]) == expected else None


async def carry_over(
    tools: RebuildTools, built: BuiltTable, names: Sequence[str], scope: RebuildScope, *, unknown: bool
) -> None:
    """Copy what the live table has and the log cannot know: rows from before its start, erasures, marks.

    `unknown` carries over all that the log does not know.
    """
    kind, table = built.kind, built.table
    now = await tools.log.ranges(built.sources)
    condition = "1" if unknown else _carried(kind, now)
    mine = scoped(kind, replace(scope, since=None, until=None))
    clause = Clause(f"{mine.sql} AND ({condition})", mine.parameters)
    shares = await parts(tools.database, kind)
    tools.bar.begin(f"{kind.table}: carrying over what the log does not have", shares)
    for part in range(shares):
        await tools.database.change(statements.carry_over(kind, table, names, clause, part, shares))
        tools.bar.moved(1)
    if kind is LETTERS:
        await tools.database.change(statements.marked(names, table, table, Clause("1")))
    await forget(tools.database, kind, table)


async def forget(database: Database, kind: RebuildTable, table: str) -> None:
    """Leave out what was erased."""
    erased = statements.forget_erased(kind, table)
    if erased is not None and ERASED_REQUESTS in await database.tables():
        await database.change(erased)


def _carried(kind: RebuildTable, ranges: Sequence[TopicRange]) -> str:
    if kind is STATE:
        return f"is_deleted OR NOT ({statements.of_readable(kind, ranges)})"
    return statements.before_starts(kind, ranges)


async def parts(database: Database, kind: RebuildTable) -> int:
    """Return into how many parts to cut questions about all keys."""
    _, rows = (await database.sizes()).get(kind.table, (0, 0))
    return max(1, ceil(rows / PART_ROWS))


GATE_SECONDS = 15
SWAP_WITHIN_SECONDS = 11.0
"""Inserts that take longer than this are waited for with the gate open."""
PATIENCE_TRIES = 60

Checkpoint = Callable[[str], Awaitable[None]]
"""Called with the name of each point that was passed; tests end the command there."""


async def pass_all(_: str) -> None:
    """Let every point pass."""


async def rebuild(
    tools: RebuildTools, kind: RebuildTable, *, keep_unknown: bool, passed: Checkpoint = pass_all
) -> SwappedTable:
    """Rebuild a table; the old one is kept under its `kept` name."""
    clock = asyncio.get_running_loop().time
    began = clock()
    if await clean(tools.database, kind):
        return SwappedTable(kind.table, kept=kind.kept, finished_before=True)
    names = await tools.database.columns(kind.table)
    await begin(tools.database, kind)
    await passed("fed")
    built = await build(tools, kind, kind.shadow, RebuildScope())
    await passed("built")
    result = await _completed(tools, built, names, keep_unknown=keep_unknown)
    await passed("completed")
    tools.bar.begin(f"{kind.table}: swapping", None)
    await swap(tools.database, kind, passed)
    await passed("swapped")
    await clean(tools.database, kind)
    result.kept, result.seconds = kind.kept, clock() - began
    return result


async def _completed(
    tools: RebuildTools, built: BuiltTable, names: list[str], *, keep_unknown: bool
) -> SwappedTable:
    before, _ = await _unknown(tools, built.kind)
    await carry_over(tools, built, names, RebuildScope(), unknown=keep_unknown)
    unknown, examples = await _unknown(tools, built.kind)
    return SwappedTable(
        built.kind.table,
        read=built.copied.read,
        rows=built.total.rows,
        refused=built.copied.refused,
        carried=max(0, before - unknown),
        unknown=unknown,
        examples=examples,
    )


async def _unknown(tools: RebuildTools, kind: RebuildTable) -> tuple[int, list[str]]:
    """Return how many rows of the live table the shadow lacks, and some of them."""
    shares = await parts(tools.database, kind)
    count, examples = 0, list[str]()
    for part in range(shares):
        (found,) = await tools.database.rows(statements.unknown(kind, part, shares))
        count, examples = count + found["rows"], examples + found["examples"]
    return count, examples[: statements.MOST_EXAMPLES]


async def begin(database: Database, kind: RebuildTable) -> None:
    """Make the shadow and its feed.  Under its name it is never without its comment."""
    await database.change(statements.create(kind, kind.scratch))
    await database.change(statements.comment(kind.scratch, statements.BUILDING))
    await database.change(f"RENAME TABLE {kind.scratch} TO {kind.shadow}")
    shadow = (await database.tables())[kind.shadow]
    await database.change(statements.feed(kind, shadow.uuid))


async def swap(database: Database, kind: RebuildTable, passed: Checkpoint = pass_all) -> None:
    """Let both tables change names while nothing is inserted; CommandError when inserts never end."""
    comment = (await database.tables())[kind.table].comment
    for _ in range(PATIENCE_TRIES):
        if await _swapped(database, kind, comment, passed):
            return
        await database.change(statements.open_gate(kind.table))
        await asyncio.sleep(1)
    raise CommandError(
        f"inserts into {kind.table} take so long that there is no moment to swap tables in; nothing was"
        " changed.  Run the same call when there is less to do, or `afterword rebuild --abort` to clean up."
    )


async def _swapped(database: Database, kind: RebuildTable, comment: str, passed: Checkpoint) -> bool:
    clock = asyncio.get_running_loop().time
    (now,) = await database.rows(statements.later(GATE_SECONDS))
    began = clock()
    await database.change(statements.close_gate(kind, now["until"]))
    closed = clock()
    await passed("gated")
    # Those that began later are refused; the sink tries again and again, so there may always be one.
    while await database.number(statements.inserts(kind, clock() - closed), "running"):
        if clock() - began > SWAP_WITHIN_SECONDS:
            return False
        await asyncio.sleep(0.02)
    await database.change(statements.comment(kind.shadow, comment))
    await passed("commented")
    if clock() - began > SWAP_WITHIN_SECONDS:
        return False
    await database.change(statements.swap(kind))
    return True


async def clean(database: Database, kind: RebuildTable) -> bool:
    """Clean up after an interrupted rebuild; return whether its swap had been done."""
    was_done = False
    while (step := next_step(kind, await database.tables())) is not None:
        for statement in _STATEMENTS[step](kind):
            await database.change(statement)
        was_done = was_done or step in DONE_BEFORE
    return was_done


def _dropped(table: str) -> str:
    return f"DROP TABLE IF EXISTS {table} SYNC SETTINGS max_table_size_to_drop = 0"


def drop_kept(kind: RebuildTable) -> str:
    """Drop the old table that a rebuild kept."""
    return _dropped(kind.kept)


_STATEMENTS: dict[CleanupStep, Callable[[RebuildTable], list[str]]] = {
    CleanupStep.OPEN_GATE: lambda kind: [statements.open_gate(kind.table)],
    CleanupStep.MARK: lambda kind: [statements.comment(kind.shadow, statements.BUILDING)],
    CleanupStep.DROP_FEED: lambda kind: [_dropped(kind.feed)],
    CleanupStep.FINISH: lambda kind: [_dropped(kind.feed)],
    CleanupStep.DROP_SHADOW: lambda kind: [_dropped(kind.shadow)],
    CleanupStep.DROP_SCRATCH: lambda kind: [_dropped(kind.scratch)],
    CleanupStep.KEEP: lambda kind: [
        statements.open_gate(kind.shadow),
        _dropped(kind.kept),
        f"RENAME TABLE {kind.shadow} TO {kind.kept}",
    ],
}
