"""The commands of `afterword dlq`: each returns its exit code."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import typer
from rich.console import Console

from services.operations.confirm import Agree
from services.operations.dlq.core.dead_letter import DeadLetterContent, DeadLetterId, StoredDeadLetter
from services.operations.dlq.core.decisions import (
    PlannedReplay,
    ReplayContext,
    UnfitError,
    corrected,
    decide_replay,
    is_taken,
)
from services.operations.dlq.core.statements import DeadLetterSelection, correct, mark_dropped, mark_open
from services.operations.dlq.core.view import (
    ReplaySummary,
    as_json,
    instant,
    listed,
    outcome,
    plain,
    whole,
    whole_as_json,
)
from services.operations.dlq.replay import (
    batches,
    in_use,
    kept_since,
    planned_replays,
    replay,
    replay_producer,
)
from services.operations.dlq.tables import DeadLetterTables, dead_letter_tables
from services.operations.exits import DONE, FOUND, CommandError, UnreachableError, UsageError
from services.operations.progress import ProgressBar
from services.runtime.audit_log import audited
from services.runtime.clickhouse.insert import ClickHouseWriter, UnavailableError
from services.runtime.settings import ClickHouseSettings, KafkaSettings


class DlqSettings(KafkaSettings, ClickHouseSettings):
    """The servers with the dead letters."""


INSERT_SECONDS = 60.0
RESUME = "Acknowledged ones are marked; run the same command again for the rest."
_WIDE = 1_000
_errors = Console(stderr=True)


async def show_list(settings: DlqSettings, selection: DeadLetterSelection, limit: int, *, json: bool) -> int:
    """Print the dead letters that failed last, newest first."""
    async with dead_letter_tables(settings) as store:
        count, _ = await store.count(selection)
        letters = await store.newest(selection, limit)
    if json:
        for letter in letters:
            typer.echo(orjson.dumps(as_json(letter)).decode())
        return DONE
    if letters:
        out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
        out.print(listed(letters))
    more = f"{len(letters):,} of {count:,} dead letters; --limit 0 shows all"
    typer.echo(more if len(letters) < count else _letters(count))
    return DONE


async def show_one(settings: DlqSettings, one: DeadLetterId, *, raw: bool, json: bool) -> int:
    """Print everything about one dead letter."""
    async with dead_letter_tables(settings) as store:
        letter, content = await _found(store, one)
        if raw:
            sys.stdout.buffer.write(content.value or b"")
            return DONE
        context = await _with_requests(store, await _context(store, settings, named=True), [one])
        decision = decide_replay(letter, content, context)
    if json:
        found = whole_as_json(letter, content, decision)
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(whole(letter, content, decision))
    return DONE


async def replay_selected(
    settings: DlqSettings,
    selection: DeadLetterSelection,
    agree: Agree,
    *,
    body: bytes | None = None,
    as_new_events: bool = False,
) -> int:
    """Print what a replay would do, and do it if that is confirmed."""
    async with dead_letter_tables(settings) as store:
        settings = await in_use(settings)
        count, last = await store.count(selection)
        await _all_there(store, selection, count)
        bounded = replace(selection, upto=last)
        named = bool(selection.ids or selection.reasons)
        context = await _context(store, settings, named=named, as_new_events=as_new_events, ask_kafka=True)
        value = None if body is None else await _correction(store, selection.ids[0], body)
        tally = ReplaySummary()
        with _errors.status("Reading dead letters"):
            async for part in planned_replays(store, bounded, context, value):
                tally.add(part)
        for line in tally.lines():
            typer.echo(line)
        if not tally.doable:
            return FOUND if tally.skipped else DONE
        if not agree(f"Replay {_letters(tally.doable)}?"):
            return FOUND if tally.skipped else DONE
        act = "dlq replay" if value is None else "dlq correct"
        with audited(
            act, letters=tally.doable, **_audit_details(selection), as_new_events=as_new_events
        ) as done:
            if value is not None:
                await _write_down(store, selection.ids[0], value)
            code, done["replayed"] = await _carry_out(store, settings, bounded, context, tally.total)
        return code


async def _carry_out(
    store: DeadLetterTables,
    settings: DlqSettings,
    selection: DeadLetterSelection,
    context: ReplayContext,
    total: int,
) -> tuple[int, int]:
    """Replay; return the exit code and the number of replayed dead letters."""
    rows = ClickHouseWriter(settings, INSERT_SECONDS)
    replayed, left = 0, 0
    try:
        with ProgressBar("Replaying", total, _errors) as bar:

            def shown(done: Sequence[DeadLetterId], refused: Sequence[PlannedReplay], others: int) -> None:
                nonlocal replayed, left
                replayed, left = replayed + len(done), left + len(refused) + others
                for one in refused:
                    _errors.print(f"{one.letter.id} {plain(outcome(one.decision))}", markup=False)
                bar.moved(len(done) + len(refused) + others)

            async with replay_producer(settings) as events:
                await replay(store, planned_replays(store, selection, context), events, rows, shown)
    except UnavailableError as error:
        raise UnreachableError(f"ClickHouse does not take rows: {error}\n{RESUME}") from error
    except CommandError as error:
        raise type(error)(f"{error}\n{RESUME}") from error
    finally:
        await rows.close()
    typer.echo(f"{_letters(replayed)} replayed" + (f", {left:,} skipped" if left else ""))
    return (FOUND if left else DONE), replayed


async def drop(settings: DlqSettings, selection: DeadLetterSelection, agree: Agree, *, undo: bool) -> int:
    """Mark dead letters as dropped, or as open again, if that is confirmed."""
    mark, verb = (mark_open, "Open again") if undo else (mark_dropped, "Drop")
    async with dead_letter_tables(settings) as store:
        count, last = await store.count(selection)
        await _all_there(store, selection, count)
        if not count:
            typer.echo("nothing is selected")
            return DONE
        if not agree(f"{verb} {_letters(count)}?"):
            return DONE
        done = 0
        act = "dlq drop --undo" if undo else "dlq drop"
        with (
            audited(act, letters=count, **_audit_details(selection)),
            ProgressBar("Marking", count, _errors) as bar,
        ):
            async for page in store.pages(replace(selection, upto=last)):
                for part in batches(page):
                    await store.mark(mark([one.id for one in part]))
                    bar.moved(len(part))
                    done += len(part)
    typer.echo(f"{_letters(done)} {'open again' if undo else 'dropped'}")
    return DONE


async def _context(
    store: DeadLetterTables,
    settings: DlqSettings,
    *,
    named: bool,
    as_new_events: bool = False,
    ask_kafka: bool = False,
) -> ReplayContext:
    recorded = await store.deployments()
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    newest = max((one.generation for one in recorded), default=0)
    is_known = ask_kafka or settings.is_generation_given
    return ReplayContext(
        generation=settings.kafka_topic_generation if is_known else newest,
        partitions={one.generation: one.partitions for one in recorded},
        kept_since=await kept_since(settings, recorded, now) if ask_kafka else None,
        named=named,
        as_new_events=as_new_events,
    )


async def _with_requests(
    store: DeadLetterTables, context: ReplayContext, ids: Sequence[DeadLetterId]
) -> ReplayContext:
    return replace(context, places=await store.places(ids), erased=await store.erased(ids))


async def _found(store: DeadLetterTables, one: DeadLetterId) -> tuple[StoredDeadLetter, DeadLetterContent]:
    letters = await store.newest(DeadLetterSelection(ids=(one,), states=()), 1)
    content = (await store.contents([one])).get(one)
    if not letters or content is None:
        raise CommandError(f"there is no dead letter {one}; `afterword dlq list --state all` shows all")
    return letters[0], content


async def _all_there(store: DeadLetterTables, selection: DeadLetterSelection, count: int) -> None:
    """Reject ids that do not exist: they may be misspelt; CommandError."""
    if len(selection.ids) > count:
        there = {one.id for one in await store.newest(replace(selection, states=()), 0)}
        missing = [str(one) for one in selection.ids if one not in there]
        if missing:
            raise CommandError(f"there is no dead letter {', '.join(missing)} that matches")


async def _correction(store: DeadLetterTables, one: DeadLetterId, body: bytes) -> bytes:
    """Return the body as it would be sent; CommandError if it must not replace the event."""
    letter, content = await _found(store, one)
    if letter.stage != "merger":
        raise UsageError(
            "--body is for dead letters of the merger.  Those of the sink are copies of records: ClickHouse"
            " must have what the topic has, and a rebuild would undo anything else."
        )
    try:
        value = corrected(letter, content.key, content.value, body)
    except UnfitError as error:
        raise UsageError(f"--body: {error}") from error
    if content.correction is not None and content.correction != value:
        raise CommandError(f"{one} was corrected before, with another body; a version has one event")
    if content.correction is None and letter.replayed_at is not None:
        raise CommandError(f"{one} was replayed unchanged, {instant(letter.replayed_at)}")
    if content.correction is None and is_taken(letter, await store.newest_copy(letter)):
        raise CommandError(f"{one} was replayed unchanged, though not marked")
    return value


async def _write_down(store: DeadLetterTables, one: DeadLetterId, value: bytes) -> None:
    """Store the body, so that no other is ever sent with this version."""
    await store.mark(correct(one, value))
    _, content = await _found(store, one)
    if content.correction != value:
        raise CommandError(f"{one} was corrected concurrently, with another body")


def _audit_details(selection: DeadLetterSelection) -> dict[str, Any]:
    """Return the selection as details of the audit log."""
    omitted = ("ids", "states", "upto")
    details = {name: value for name, value in asdict(selection).items() if value and name not in omitted}
    return details | ({"ids": [str(one) for one in selection.ids[:100]]} if selection.ids else {})


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
