"""Puts a part of a table right, row by row, with no swap: one tenant, one time, or both.

What the log says of the scope is written to a scratch table first, and from there into the live one: of equal
revisions the last insert counts, so right rows stay and changed ones become right at once.  Only then rows go
that the log does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.identity import event_key, partition_of, split_version
from services.operations.exits import CommandError
from services.operations.rebuild.core import scoped, statements
from services.operations.rebuild.core.kinds import EVENTS, LETTERS, STATE, Kind
from services.operations.rebuild.core.scope import Reach, Scope
from services.operations.rebuild.shadow_table import Bench, Built, build, forget
from services.operations.rebuild.swapping import Passed, clean, nobody
from services.runtime.clickhouse.core.statement import Clause

ROUNDS = 5
PAGE_ROWS = 5_000


@dataclass
class Mended:
    """What became of a part of a table."""

    table: str
    read: int = 0
    rows: int = 0
    refused: int = 0
    mended: int = 0
    """Rows that were missing or said something else."""
    deleted: int = 0
    kept: str | None = None
    """The table that has what was deleted."""


async def mend(
    bench: Bench,
    kind: Kind,
    scope: Scope,
    *,
    keep_unknown: bool,
    keep_old: bool = True,
    passed: Passed = nobody,
) -> Mended:
    """Put the scope's rows of a table right; CommandError when they are not in the end.

    What is deleted is copied to the `kept` table first, unless `keep_old` is False.
    """
    await clean(bench.engine, kind)
    names = await bench.engine.columns(kind)
    await bench.engine.change(statements.create(kind, kind.scratch))
    await passed("scratch")
    built = await build(bench, kind, kind.scratch, scope)
    await forget(bench.engine, kind, kind.scratch)
    await passed("built")
    clause = await _clause(bench, kind, scope)
    result = Mended(kind.table, built.copied.read, built.total.rows, built.copied.refused)
    result.mended = await bench.engine.number(scoped.still_wrong(kind, clause), "rows")
    bench.bar.begin(f"{kind.table}: putting rows right", None)
    for _ in range(ROUNDS):
        await bench.engine.change(scoped.again(kind, names, clause))
        await passed("inserted")
        # What was erased meanwhile was inserted once more, and goes with what the log does not know.
        await forget(bench.engine, kind, kind.scratch)
        if keep_unknown:
            await forget(bench.engine, kind, kind.table)
        # A merge may have dropped a right row for a wrong one that goes now, so it is inserted again.
        kept = names if keep_old else ()
        gone = await _delete_wrong(bench, built, clause, kept, keep_unknown=keep_unknown)
        await passed("deleted")
        result.deleted += gone
        result.kept = kind.kept if result.deleted and keep_old else None
        if not gone and not await bench.engine.number(scoped.still_wrong(kind, clause), "rows"):
            await clean(bench.engine, kind)
            return result
    raise CommandError(
        f"rows of {kind.table} are still not what the log says.  Is another program writing to it?"
    )


async def _clause(bench: Bench, kind: Kind, scope: Scope) -> Clause:
    timed = scope.is_timed and kind is STATE
    versions = await bench.log.timed(await bench.log.sources(EVENTS), scope) if timed else ()
    return scoped.scoped(kind, scope, versions)


async def _delete_wrong(
    bench: Bench, built: Built, clause: Clause, kept: Sequence[str], *, keep_unknown: bool
) -> int:
    """Delete rows that the log does not know, after a copy of these columns; how many."""
    deleted = 0
    while True:
        asked = scoped.wrong(built.kind, clause, built.reaches, keep_unknown=keep_unknown, limit=PAGE_ROWS)
        rows = await bench.engine.rows(asked)
        # Asked after the rows: what the log has not written by now is from nowhere.
        now = await bench.log.reaches(built.sources)
        bad = [row for row in rows if is_wrong(built.kind, row, built.reaches, now)]
        if bad:
            exact = [_exact(built.kind, row) for row in bad]
            if kept:
                await bench.engine.change(scoped.keeping(built.kind))
                await bench.engine.change(scoped.keep(built.kind, kept, exact))
            await bench.engine.change(scoped.delete(built.kind, exact))
            deleted += len(bad)
        if len(rows) < PAGE_ROWS or not bad:
            return deleted


def _exact(kind: Kind, row: dict[str, Any]) -> list[str | int]:
    columns = kind.key if kind is LETTERS else (*kind.key, kind.order)
    return [row[name] for name in columns]


def is_wrong(kind: Kind, row: dict[str, Any], read: Sequence[Reach], now: Sequence[Reach]) -> bool:
    """Judge a row that the log's reading does not account for.  Pure.

    It is right to be there if it came after what was read, `read`, but not beyond what the log holds `now`;
    and nobody knows if its log is gone.
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
