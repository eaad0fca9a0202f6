"""The command line of `afterword rebuild`."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from schemas.identity import is_tenant
from services.cli.options import Yes, epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.dlq.core.statements import moment
from services.operations.exits import UsageError
from services.operations.rebuild import run, states
from services.operations.rebuild.core.scope import RebuildScope, chosen
from services.operations.rebuild.settings import RebuildSettings
from services.runtime.settings import load

EXAMPLES = (
    ("afterword rebuild", "what it would do with all tables; asks before doing it"),
    ("afterword rebuild --tenant acme --yes", "fix the rows of one tenant in place"),
    ("afterword rebuild --from 2026-11-22T08:00:00Z --to 2026-11-22T09:00:00Z", "the rows of an hour"),
    ("afterword rebuild --table state --no-keep-old --yes", "one table at a time, with less disk"),
    ("afterword rebuild --state", "the state topic, from the events; the merger must be stopped"),
    ("afterword rebuild --drop-old", "drop the old tables, once you have checked the new ones"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


class TableChoice(StrEnum):
    """The name of a table on the command line."""

    EVENTS = "events"
    DLQ = "dlq"
    STATE = "state"


@app.command(epilog=epilog(EXAMPLES))
def rebuild(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's rows.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Only events appended since then, and rows whose newest event was: 30m, 2h, 7d or"
            " 2026-11-22T08:00:00Z.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only those from before then.")
    ] = None,
    table: Annotated[
        list[TableChoice] | None, typer.Option("--table", help="Only this table; repeatable.")
    ] = None,
    state: Annotated[
        bool,
        typer.Option("--state", help="Instead of tables, rebuild the state topic from all known events."),
    ] = False,
    keep_unknown: Annotated[
        bool,
        typer.Option(
            "--keep-unknown", help="Keep rows whose events are not in the log; without it they are dropped."
        ),
    ] = False,
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old/--no-keep-old",
            help="Keep the old tables as …_before_rebuild, and with a scope the deleted rows. With"
            " --no-keep-old each is dropped after the swap, unless it has rows whose events are not in the"
            " log.",
        ),
    ] = True,
    drop_unknown: Annotated[
        bool,
        typer.Option("--drop-unknown", help="With --state: delete states of requests without a known event."),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Only drop the old tables that earlier rebuilds kept.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Only clean up after an interrupted rebuild.")
    ] = False,
    yes: Yes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON objects, one per line.")] = False,
) -> None:
    """Rebuild ClickHouse's tables from the log, during live traffic.

    It prints what it would do, and does it with --yes, or once you confirm on a
    terminal.

    Without a scope, each table is built beside the live one, compared with
    what was read, and swapped in atomically: readers see no gap.  With
    --tenant, --from or --to, the rows of that scope are fixed in place.

    What the topics no longer have is carried over: history from before the
    start of the log, erasures, marks on dead letters.

    An interruption loses nothing: run the same command again to start over, or
    to finish a swap, or clean up with --abort.
    """
    scope = _scope(tenant, since, until)
    only = [
        name for name, given in (("--state", state), ("--drop-old", drop_old), ("--abort", abort)) if given
    ]
    if len(only) > 1:
        raise UsageError(f"{' and '.join(only)} cannot be combined")
    if only and (scope.is_timed or (tenant and not state)):
        raise UsageError(f"{only[0]} cannot be combined with --from and --to, and only --state with --tenant")
    wanted = run.RebuildOptions(
        scope=scope,
        kinds=chosen(one.value for one in table or ()),
        keep_unknown=keep_unknown,
        keep_old=keep_old,
        drop_unknown=drop_unknown,
        json=as_json,
    )
    _run(_operation(wanted, state=state, drop_old=drop_old, abort=abort, yes=yes))


def _operation(
    wanted: run.RebuildOptions, *, state: bool, drop_old: bool, abort: bool, yes: bool
) -> Coroutine[Any, Any, int]:
    settings, agree = (
        named(load(RebuildSettings), wanted.scope.tenant),
        agreement(yes=yes, quiet=wanted.json, err=wanted.json),
    )
    if abort:
        return run.abort(settings, wanted)
    if drop_old:
        return run.drop_old(settings, wanted, agree)
    if state:
        return states.rebuild_states(settings, wanted, agree)
    return run.tables(settings, wanted, agree)


def _scope(tenant: str | None, since: str | None, until: str | None) -> RebuildScope:
    if tenant is not None and not is_tenant(tenant):
        raise UsageError(f"{tenant!r} is not a tenant: lower-case letters, digits and dashes, at most 63.")
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    try:
        first, last = (None if text is None else moment(text, now) for text in (since, until))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if first is not None and last is not None and first >= last:
        raise UsageError("--from must be before --to")
    return RebuildScope(tenant, first, last)


def _run(operation: Coroutine[Any, Any, int]) -> None:
    try:
        code = asyncio.run(operation)
    except KeyboardInterrupt:
        typer.echo(
            "Stopped.  Run the same command again to start over; `afterword rebuild --abort` cleans up.",
            err=True,
        )
        raise
    raise typer.Exit(code)
