"""`afterword rebuild` between its options and its exit code."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import typer
from rich.console import Console

from services.operations.confirm import Agree
from services.operations.core import system_tables
from services.operations.database import Database, connected
from services.operations.errors import kafka_unreachable
from services.operations.exits import DONE, FOUND, CommandError
from services.operations.progress import ProgressBar
from services.operations.rebuild.core.plan import RebuildPlan, plan
from services.operations.rebuild.core.report import RepairedTable, SwappedTable, result_lines, unexplained
from services.operations.rebuild.core.scope import EVERYTHING, REBUILD_TABLES, RebuildScope, RebuildTable
from services.operations.rebuild.log import CLIENT, FAILURES, RebuildLog, log
from services.operations.rebuild.repair import repair
from services.operations.rebuild.settings import RebuildSettings
from services.operations.rebuild.shadow_table import (
    Checkpoint,
    RebuildTools,
    clean,
    drop_kept,
    pass_all,
    rebuild,
)
from services.pipeline.generations import resolved
from services.runtime import audit_log
from services.runtime.clickhouse.insert import ClickHouseWriter

INSERT_SECONDS = 300.0
ACT = "rebuild"

errors = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class RebuildOptions:
    """What the options ask for."""

    scope: RebuildScope = EVERYTHING
    kinds: tuple[RebuildTable, ...] = REBUILD_TABLES
    keep_unknown: bool = False
    keep_old: bool = True
    drop_unknown: bool = False
    json: bool = False


async def in_use(settings: RebuildSettings) -> RebuildSettings:
    """Return settings with the generation that is in use, where none is given."""
    try:
        return await resolved(settings, CLIENT)
    except FAILURES as error:
        raise kafka_unreachable(settings) from error


async def tables(
    settings: RebuildSettings, options: RebuildOptions, agree: Agree, passed: Checkpoint = pass_all
) -> int:
    """Show the plan, and rebuild the tables, or repair a part of them, if the operator agrees."""
    settings = await in_use(settings)
    async with connected(settings) as database, log(settings, await database.deployments()) as known:
        todo = await _plan(database, known, options)
        say(options.json, todo.lines(), {"plan": todo.as_json()})
        todo.check_room()
        if not agree(_question(options)):
            return DONE
        with held(settings), audited(settings, ACT, _facts(options)) as outcome:
            results = await _carried_out(settings, database, known, options, passed)
            outcome |= {"rows": {result.table: result.rows for result in results}}
        say(options.json, result_lines(results), {"tables": [asdict(result) for result in results]})
    return FOUND if unexplained(results) else DONE


async def _plan(database: Database, known: RebuildLog, options: RebuildOptions) -> RebuildPlan:
    found = await database.tables()
    if missing := [kind.table for kind in options.kinds if kind.table not in found]:
        raise CommandError(f"ClickHouse has no {' and no '.join(missing)}: run `afterword migrate`.")
    ranges = {kind: await known.ranges(await known.sources(kind)) for kind in options.kinds}
    free = await database.number(system_tables.free_space(), "bytes")
    return plan(options.scope, ranges, await database.sizes(), free, keep_old=options.keep_old)


async def _carried_out(
    settings: RebuildSettings,
    database: Database,
    known: RebuildLog,
    options: RebuildOptions,
    passed: Checkpoint,
) -> list[SwappedTable | RepairedTable]:
    writer = ClickHouseWriter(settings, INSERT_SECONDS)
    try:
        with ProgressBar("Rebuilding", None, errors) as bar:
            tools = RebuildTools(database, known, writer, bar)
            return [await _one(tools, kind, options, passed) for kind in options.kinds]
    finally:
        await writer.close()


async def _one(
    tools: RebuildTools, kind: RebuildTable, options: RebuildOptions, passed: Checkpoint
) -> SwappedTable | RepairedTable:
    if not options.scope.is_everything:
        return await repair(
            tools,
            kind,
            options.scope,
            keep_unknown=options.keep_unknown,
            keep_old=options.keep_old,
            passed=passed,
        )
    result = await rebuild(tools, kind, keep_unknown=options.keep_unknown, passed=passed)
    if not options.keep_old and not result.unknown:
        await tools.database.change(drop_kept(kind))
        result.kept = None
    return result


async def abort(settings: RebuildSettings, options: RebuildOptions) -> int:
    """Drop what an interrupted rebuild created, or finish it where its swap was done."""
    async with connected(settings) as database:
        with held(settings), audited(settings, f"{ACT} --abort", {}):
            done = [kind.table for kind in options.kinds if await clean(database, kind)]
    text = "nothing is left of an interrupted rebuild"
    if done:
        text += f"; {' and '.join(done)} had been swapped, and stay as they were made"
    say(options.json, [text], {"finished": done})
    return DONE


async def drop_old(settings: RebuildSettings, options: RebuildOptions, agree: Agree) -> int:
    """Drop the old tables that rebuilds kept."""
    async with connected(settings) as database:
        found, sizes = await database.tables(), await database.sizes()
        kept = [kind for kind in options.kinds if kind.kept in found]
        named = [f"{kind.kept}: {sizes.get(kind.kept, (0, 0))[1]:,} rows" for kind in kept]
        say(options.json, named or ["no rebuild kept an old table"], {"kept": [kind.kept for kind in kept]})
        if not kept or not agree("Drop them for good?"):
            return DONE
        with held(settings), audited(settings, f"{ACT} --drop-old", {"tables": [one.kept for one in kept]}):
            for kind in kept:
                await database.change(drop_kept(kind))
    say(options.json, ["dropped"], {"dropped": [kind.kept for kind in kept]})
    return DONE


def say(json: bool, lines: Any, value: dict[str, Any]) -> None:  # noqa: FBT001 (the one switch of every answer)
    """Print lines of text, or an object as JSON."""
    if json:
        typer.echo(orjson.dumps(value).decode())
        return
    for line in lines:
        typer.echo(line)


def _question(options: RebuildOptions) -> str:
    if options.scope.is_everything:
        return f"Make {', '.join(kind.table for kind in options.kinds)} anew?"
    kept = "" if options.keep_unknown else "; rows that the log does not know are deleted"
    if kept and options.keep_old:
        kept += f", after a copy to {' and '.join(kind.kept for kind in options.kinds)}"
    return f"Put right what ClickHouse has of {options.scope}{kept}?"


def _facts(options: RebuildOptions) -> dict[str, Any]:
    return {
        "scope": str(options.scope),
        "tables": [kind.table for kind in options.kinds],
        "keep_unknown": options.keep_unknown,
    }


@contextmanager
def audited(settings: RebuildSettings, act: str, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Record that an act began, and how it ended; what is put into the dictionary is recorded with it."""
    audit_log.record(settings, act, "begun", _now(), **facts)
    outcome: dict[str, Any] = {}
    try:
        yield outcome
    except (Exception, asyncio.CancelledError) as error:
        audit_log.record(settings, act, "failed", _now(), error=type(error).__name__, **facts)
        raise
    audit_log.record(settings, act, "done", _now(), **facts, **outcome)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the rim of a command)


@contextmanager
def held(settings: RebuildSettings) -> Iterator[None]:
    """Keep a second rebuild of this home out: it would take the first one's tables for leftovers."""
    settings.afterword_home.mkdir(parents=True, exist_ok=True)
    lock = os.open(settings.afterword_home / "rebuild.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CommandError("another `afterword rebuild` is at work: wait until it ends, or stop it") from None
    finally:
        os.close(lock)
