"""What each command does between its options and its exit code."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import typer
from rich.console import Console

from services.operations.confirm import Agree
from services.operations.dlq import topics
from services.operations.dlq.core.corrections import UnfitError, corrected
from services.operations.dlq.core.decisions import Decided, Ground, decide, is_taken
from services.operations.dlq.core.letters import Bytes, Id, Letter
from services.operations.dlq.core.selection import Selection
from services.operations.dlq.core.statements import correct, mark_dropped, mark_open
from services.operations.dlq.core.view import (
    Tally,
    as_json,
    instant,
    listed,
    outcome,
    plain,
    whole,
    whole_as_json,
)
from services.operations.dlq.replaying import decided, parts, replay
from services.operations.dlq.settings import DlqSettings
from services.operations.dlq.tables import Tables, tables
from services.operations.exits import DONE, FOUND, CommandError, UnreachableError, UsageError
from services.operations.progress import Bar
from services.runtime.audit_log import audited
from services.runtime.clickhouse.insert import ClickHouseWriter, UnavailableError

INSERT_SECONDS = 60.0
GO_ON = "What was acknowledged is marked; the same call goes on with the rest."
_WIDE = 1_000
_errors = Console(stderr=True)


async def show_list(settings: DlqSettings, selection: Selection, limit: int, *, json: bool) -> int:
    """Print the dead letters that failed last."""
    async with tables(settings) as store:
        count, _ = await store.count(selection)
        letters = await store.newest(selection, limit)
    if json:
        for one in letters:
            typer.echo(orjson.dumps(as_json(one)).decode())
        return DONE
    if letters:
        out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
        out.print(listed(letters))
    more = f"{len(letters):,} of {count:,} dead letters; --limit 0 shows all"
    typer.echo(more if len(letters) < count else _letters(count))
    return DONE


async def show_one(settings: DlqSettings, one: Id, *, raw: bool, json: bool) -> int:
    """Print everything about one dead letter."""
    async with tables(settings) as store:
        letter, content = await _found(store, one)
        if raw:
            sys.stdout.buffer.write(content.value or b"")
            return DONE
        ground = await _around(store, await _ground(store, settings, named=True), [one])
        decision = decide(letter, content, ground)
    if json:
        found = whole_as_json(letter, content, decision)
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(whole(letter, content, decision))
    return DONE


async def put_back(
    settings: DlqSettings,
    selection: Selection,
    agree: Agree,
    *,
    body: bytes | None = None,
    as_new_events: bool = False,
) -> int:
    """Show what a replay would do, and do it if that is agreed to."""
    async with tables(settings) as store:
        settings = await topics.in_use(settings)
        count, last = await store.count(selection)
        await _all_there(store, selection, count)
        bounded = replace(selection, upto=last)
        named = bool(selection.ids or selection.reasons)
        ground = await _ground(store, settings, named=named, as_new_events=as_new_events, ask_kafka=True)
        value = None if body is None else await _correction(store, selection.ids[0], body)
        tally = Tally()
        with _errors.status("Looking"):
            async for part in decided(store, bounded, ground, value):
                tally.add(part)
        for line in tally.lines():
            typer.echo(line)
        if not tally.doable:
            return FOUND if tally.left else DONE
        if not agree(f"Replay {_letters(tally.doable)}?"):
            return FOUND if tally.left else DONE
        act = "dlq replay" if value is None else "dlq correct"
        with audited(act, letters=tally.doable, **_told(selection), as_new_events=as_new_events) as done:
            if value is not None:
                await _write_down(store, selection.ids[0], value)
            code, done["replayed"] = await _carry_out(store, settings, bounded, ground, tally.total)
        return code


async def _carry_out(
    store: Tables, settings: DlqSettings, selection: Selection, ground: Ground, total: int
) -> tuple[int, int]:
    """Replay; return the exit code, and how many letters were replayed."""
    rows = ClickHouseWriter(settings, INSERT_SECONDS)
    replayed, left = 0, 0
    try:
        with Bar("Replaying", total, _errors) as bar:

            def shown(done: Sequence[Id], refused: Sequence[Decided], others: int) -> None:
                nonlocal replayed, left
                replayed, left = replayed + len(done), left + len(refused) + others
                for one in refused:
                    _errors.print(f"{one.letter.id} {plain(outcome(one.decision))}", markup=False)
                bar.moved(len(done) + len(refused) + others)

            async with topics.sender(settings) as events:
                await replay(store, decided(store, selection, ground), events, rows, shown)
    except UnavailableError as error:
        raise UnreachableError(f"ClickHouse does not take rows: {error}\n{GO_ON}") from error
    except CommandError as error:
        raise type(error)(f"{error}\n{GO_ON}") from error
    finally:
        await rows.close()
    typer.echo(f"{_letters(replayed)} replayed" + (f", {left:,} left" if left else ""))
    return (FOUND if left else DONE), replayed


async def drop(settings: DlqSettings, selection: Selection, agree: Agree, *, undo: bool) -> int:
    """Mark dead letters as dropped, or as open again, if that is agreed to."""
    mark, verb = (mark_open, "Open again") if undo else (mark_dropped, "Drop")
    async with tables(settings) as store:
        count, last = await store.count(selection)
        await _all_there(store, selection, count)
        if not count:
            typer.echo("nothing is selected")
            return DONE
        if not agree(f"{verb} {_letters(count)}?"):
            return DONE
        done = 0
        act = "dlq drop --undo" if undo else "dlq drop"
        with audited(act, letters=count, **_told(selection)), Bar("Marking", count, _errors) as bar:
            async for page in store.pages(replace(selection, upto=last)):
                for part in parts(page):
                    await store.mark(mark([one.id for one in part]))
                    bar.moved(len(part))
                    done += len(part)
    typer.echo(f"{_letters(done)} {'open again' if undo else 'dropped'}")
    return DONE


async def _ground(
    store: Tables,
    settings: DlqSettings,
    *,
    named: bool,
    as_new_events: bool = False,
    ask_kafka: bool = False,
) -> Ground:
    recorded = await store.deployments()
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    newest = max((one.generation for one in recorded), default=0)
    is_known = ask_kafka or settings.is_generation_given
    return Ground(
        generation=settings.kafka_topic_generation if is_known else newest,
        partitions={one.generation: one.partitions for one in recorded},
        kept_since=await topics.kept_since(settings, recorded, now) if ask_kafka else None,
        named=named,
        as_new_events=as_new_events,
    )


async def _around(store: Tables, ground: Ground, ids: Sequence[Id]) -> Ground:
    return replace(ground, places=await store.places(ids), erased=await store.erased(ids))


async def _found(store: Tables, one: Id) -> tuple[Letter, Bytes]:
    letters = await store.newest(Selection(ids=(one,), states=()), 1)
    content = (await store.contents([one])).get(one)
    if not letters or content is None:
        raise CommandError(f"there is no dead letter {one}; `afterword dlq list --state all` shows all")
    return letters[0], content


async def _all_there(store: Tables, selection: Selection, count: int) -> None:
    """Refuse a call that names what is not there: it may be a typing error."""
    if len(selection.ids) > count:
        there = {one.id for one in await store.newest(replace(selection, states=()), 0)}
        missing = [str(one) for one in selection.ids if one not in there]
        if missing:
            raise CommandError(f"there is no dead letter {', '.join(missing)} that fits the call")


async def _correction(store: Tables, one: Id, body: bytes) -> bytes:
    """Return the body as it would be sent; CommandError when it may not take the place."""
    letter, content = await _found(store, one)
    if letter.stage != "merger":
        raise UsageError(
            "--body is for what the merger refused.  The sink's dead letters are copies: ClickHouse must have"
            " what the topic has, and a rebuild would undo anything else."
        )
    try:
        value = corrected(letter, content.key, content.value, body)
    except UnfitError as error:
        raise UsageError(f"--body: {error}") from error
    if content.correction is not None and content.correction != value:
        raise CommandError(f"{one} was corrected before, with another body; a place has one event")
    if content.correction is None and letter.replayed_at is not None:
        raise CommandError(f"{one} was replayed as it was, {instant(letter.replayed_at)}; its place is taken")
    if content.correction is None and is_taken(letter, await store.newest_copy(letter)):
        raise CommandError(f"{one} was replayed as it was, though not marked; its place is taken")
    return value


async def _write_down(store: Tables, one: Id, value: bytes) -> None:
    """Make sure that this body, and no other, is ever sent for the place."""
    await store.mark(correct(one, value))
    _, content = await _found(store, one)
    if content.correction != value:
        raise CommandError(f"somebody corrected {one} just now, with another body")


def _told(selection: Selection) -> dict[str, Any]:
    """Return what was asked for, as the audit log has it."""
    left_out = ("ids", "states", "upto")
    asked = {name: value for name, value in asdict(selection).items() if value and name not in left_out}
    return asked | ({"ids": [str(one) for one in selection.ids[:100]]} if selection.ids else {})


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
