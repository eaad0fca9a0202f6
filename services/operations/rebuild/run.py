"""What the command does between its options and its exit code."""

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
from services.operations.errors import kafka_away
from services.operations.exits import DONE, FOUND, CommandError
from services.operations.progress import Bar
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.kinds import KINDS, Kind
from services.operations.rebuild.core.plan import Plan, plan
from services.operations.rebuild.core.scope import EVERYTHING, Scope
from services.operations.rebuild.engine import Engine, engine
from services.operations.rebuild.log import CLIENT, FAILURES, Log, log
from services.operations.rebuild.mending import Mended, mend
from services.operations.rebuild.settings import RebuildSettings
from services.operations.rebuild.shadow_table import Bench
from services.operations.rebuild.swapping import Passed, Swapped, clean, drop_kept, nobody, rebuild
from services.operations.rebuild.view import lost_and_found, told
from services.pipeline.generations import resolved
from services.runtime import audit_log
from services.runtime.clickhouse.insert import ClickHouseWriter

INSERT_SECONDS = 300.0
ACT = "rebuild"

errors = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options ask for."""

    scope: Scope = EVERYTHING
    kinds: tuple[Kind, ...] = KINDS
    keep_unknown: bool = False
    keep_old: bool = True
    drop_unknown: bool = False
    json: bool = False


async def in_use(settings: RebuildSettings) -> RebuildSettings:
    """Return settings with the generation that is in use, where none is given."""
    try:
        return await resolved(settings, CLIENT)
    except FAILURES as error:
        raise kafka_away(settings) from error


async def tables(settings: RebuildSettings, wanted: Wanted, agree: Agree, passed: Passed = nobody) -> int:
    """Show what would be done, and make the tables anew, or a part of them right, if that is agreed to."""
    settings = await in_use(settings)
    async with engine(settings) as store, log(settings, await store.deployments()) as known:
        todo = await _plan(store, known, wanted)
        say(wanted.json, todo.lines(), {"plan": todo.as_json()})
        todo.check_room()
        if not agree(_question(wanted)):
            return DONE
        with held(settings), audited(settings, ACT, _facts(wanted)) as outcome:
            results = await _carried_out(settings, store, known, wanted, passed)
            outcome |= {"rows": {one.table: one.rows for one in results}}
        say(wanted.json, told(results), {"tables": [asdict(one) for one in results]})
    return FOUND if lost_and_found(results) else DONE


async def _plan(store: Engine, known: Log, wanted: Wanted) -> Plan:
    found = await store.tables()
    if missing := [kind.table for kind in wanted.kinds if kind.table not in found]:
        raise CommandError(f"ClickHouse has no {' and no '.join(missing)}: run `afterword migrate`.")
    reaches = {kind: await known.reaches(await known.sources(kind)) for kind in wanted.kinds}
    free = await store.number(statements.free_space(), "bytes")
    return plan(wanted.scope, reaches, await store.sizes(), free, keep_old=wanted.keep_old)


async def _carried_out(
    settings: RebuildSettings, store: Engine, known: Log, wanted: Wanted, passed: Passed
) -> list[Swapped | Mended]:
    writer = ClickHouseWriter(settings, INSERT_SECONDS)
    try:
        with Bar("Rebuilding", None, errors) as bar:
            bench = Bench(store, known, writer, bar)
            return [await _one(bench, kind, wanted, passed) for kind in wanted.kinds]
    finally:
        await writer.close()


async def _one(bench: Bench, kind: Kind, wanted: Wanted, passed: Passed) -> Swapped | Mended:
    if not wanted.scope.is_everything:
        return await mend(
            bench,
            kind,
            wanted.scope,
            keep_unknown=wanted.keep_unknown,
            keep_old=wanted.keep_old,
            passed=passed,
        )
    result = await rebuild(bench, kind, keep_unknown=wanted.keep_unknown, passed=passed)
    if not wanted.keep_old and not result.unknown:
        await bench.engine.change(drop_kept(kind))
        result.kept = None
    return result


async def abort(settings: RebuildSettings, wanted: Wanted) -> int:
    """Throw away what an interrupted rebuild left, or finish it where its swap was done."""
    async with engine(settings) as store:
        with held(settings), audited(settings, f"{ACT} --abort", {}):
            done = [kind.table for kind in wanted.kinds if await clean(store, kind)]
    text = "nothing is left of an interrupted rebuild"
    if done:
        text += f"; {' and '.join(done)} had been swapped, and stay as they were made"
    say(wanted.json, [text], {"finished": done})
    return DONE


async def drop_old(settings: RebuildSettings, wanted: Wanted, agree: Agree) -> int:
    """Drop the old tables that rebuilds kept."""
    async with engine(settings) as store:
        found, sizes = await store.tables(), await store.sizes()
        kept = [kind for kind in wanted.kinds if kind.kept in found]
        named = [f"{kind.kept}: {sizes.get(kind.kept, (0, 0))[1]:,} rows" for kind in kept]
        say(wanted.json, named or ["no rebuild kept an old table"], {"kept": [kind.kept for kind in kept]})
        if not kept or not agree("Drop them for good?"):
            return DONE
        with held(settings), audited(settings, f"{ACT} --drop-old", {"tables": [one.kept for one in kept]}):
            for kind in kept:
                await store.change(drop_kept(kind))
    say(wanted.json, ["dropped"], {"dropped": [kind.kept for kind in kept]})
    return DONE


def say(json: bool, lines: Any, value: dict[str, Any]) -> None:  # noqa: FBT001 (the one switch of every answer)
    """Print lines for people, or an object for scripts."""
    if json:
        typer.echo(orjson.dumps(value).decode())
        return
    for line in lines:
        typer.echo(line)


def _question(wanted: Wanted) -> str:
    if wanted.scope.is_everything:
        return f"Make {', '.join(kind.table for kind in wanted.kinds)} anew?"
    kept = "" if wanted.keep_unknown else "; rows that the log does not know are deleted"
    if kept and wanted.keep_old:
        kept += f", after a copy to {' and '.join(kind.kept for kind in wanted.kinds)}"
    return f"Put right what ClickHouse has of {wanted.scope}{kept}?"


def _facts(wanted: Wanted) -> dict[str, Any]:
    return {
        "scope": str(wanted.scope),
        "tables": [kind.table for kind in wanted.kinds],
        "keep_unknown": wanted.keep_unknown,
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
