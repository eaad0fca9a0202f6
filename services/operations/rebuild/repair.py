"""Repairs a part of a table, row by row, with no swap: one tenant, a time range, or both.

What the log has of the scope is written to a scratch table first, and from there into the live one: of equal
revisions the last insert counts, so right rows stay and changed ones become right at once.  Only then rows
that the log does not have are deleted.
"""

from collections.abc import Sequence
from typing import Any

from schemas.identity import event_key, partition_of, split_version
from services.operations.exits import CommandError
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.report import RepairedTable
from services.operations.rebuild.core.scope import (
    EVENTS,
    LETTERS,
    STATE,
    RebuildScope,
    RebuildTable,
    TopicRange,
)
from services.operations.rebuild.shadow_table import (
    BuiltTable,
    Checkpoint,
    RebuildTools,
    build,
    clean,
    forget,
    pass_all,
)
from services.runtime.clickhouse.core.statement import Clause

ROUNDS = 5
PAGE_ROWS = 5_000


async def repair(
    tools: RebuildTools,
    kind: RebuildTable,
    scope: RebuildScope,
    *,
    keep_unknown: bool,
    keep_old: bool = True,
    passed: Checkpoint = pass_all,
) -> RepairedTable:
    """Repair the scope's rows of a table; CommandError when they still differ after `ROUNDS`.

    What is deleted is copied to the `kept` table first, unless `keep_old` is False.
    """
    await clean(tools.database, kind)
    names = await tools.database.columns(kind.table)
    await tools.database.change(statements.create(kind, kind.scratch))
    await passed("scratch")
    built = await build(tools, kind, kind.scratch, scope)
    await forget(tools.database, kind, kind.scratch)
    await passed("built")
    clause = await _clause(tools, kind, scope)
    result = RepairedTable(kind.table, built.copied.read, built.total.rows, built.copied.refused)
    result.mended = await tools.database.number(statements.still_wrong(kind, clause), "rows")
    tools.bar.begin(f"{kind.table}: putting rows right", None)
    for _ in range(ROUNDS):
        await tools.database.change(statements.again(kind, names, clause))
        await passed("inserted")
        # What was erased meanwhile was inserted again, and is deleted with what the log does not have.
        await forget(tools.database, kind, kind.scratch)
        if keep_unknown:
            await forget(tools.database, kind, kind.table)
        # A merge may have dropped a right row for a wrong one that goes now, so it is inserted again.
        kept = names if keep_old else ()
        gone = await _delete_wrong(tools, built, clause, kept, keep_unknown=keep_unknown)
        await passed("deleted")
        result.deleted += gone
        result.kept = kind.kept if result.deleted and keep_old else None
        if not gone and not await tools.database.number(statements.still_wrong(kind, clause), "rows"):
            await clean(tools.database, kind)
            return result
    raise CommandError(
        f"rows of {kind.table} are still not what the log has.  Is another program writing to it?"
    )


async def _clause(tools: RebuildTools, kind: RebuildTable, scope: RebuildScope) -> Clause:
    timed = scope.is_timed and kind is STATE
    versions = await tools.log.timed(await tools.log.sources(EVENTS), scope) if timed else ()
    return statements.scoped(kind, scope, versions)


async def _delete_wrong(
    tools: RebuildTools, built: BuiltTable, clause: Clause, kept: Sequence[str], *, keep_unknown: bool
) -> int:
    """Delete rows that the log does not know, after a copy of these columns; how many."""
    deleted = 0
    while True:
        asked = statements.wrong(built.kind, clause, built.ranges, keep_unknown=keep_unknown, limit=PAGE_ROWS)
        rows = await tools.database.rows(asked)
        # Asked after the rows: what the log has not written by now is from nowhere.
        now = await tools.log.ranges(built.sources)
        bad = [row for row in rows if is_wrong(built.kind, row, built.ranges, now)]
        if bad:
            exact = [_exact(built.kind, row) for row in bad]
            if kept:
                await tools.database.change(statements.keeping(built.kind))
                await tools.database.change(statements.keep(built.kind, kept, exact))
            await tools.database.change(statements.delete(built.kind, exact))
            deleted += len(bad)
        if len(rows) < PAGE_ROWS or not bad:
            return deleted


def _exact(kind: RebuildTable, row: dict[str, Any]) -> list[str | int]:
    columns = kind.key if kind is LETTERS else (*kind.key, kind.order)
    return [row[name] for name in columns]


def is_wrong(
    kind: RebuildTable, row: dict[str, Any], read: Sequence[TopicRange], now: Sequence[TopicRange]
) -> bool:
    """Return whether a row that was not read from the log is wrong.

    It is right to be there if it came after what was read, `read`, but not beyond what the log holds `now`;
    and of a log that is gone nothing is known.
    """
    generation, offset = (None, row["place"]) if kind is LETTERS else split_version(row["place"])
    own = next(
        (n for n, one in enumerate(read) if one.topic == row["topic"] or one.generation == generation), None
    )
    if own is None:
        return generation is not None and all(generation > one.generation for one in read)
    count = len(read[own].ends)
    part = partition_of(event_key(row["tenant"], row["request_id"]), count) if kind is STATE else row["part"]
    if part >= count:
        return True
    return bool(offset < read[own].ends[part] or offset >= now[own].ends[part])
