"""The command line of `afterword rebuild`: options in, exit codes out."""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from schemas.identity import is_tenant
from services.cli.examples import epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.dlq.core.selection import moment
from services.operations.exits import UsageError
from services.operations.rebuild import run, states
from services.operations.rebuild.core.scope import RebuildScope, chosen
from services.operations.rebuild.settings import RebuildSettings
from services.runtime.settings import load

EXAMPLES = (
    ("afterword rebuild", "what it would do with all tables; then it asks"),
    ("afterword rebuild --tenant acme --yes", "put one tenant's rows right, with no swap"),
    ("afterword rebuild --from 2026-11-22T08:00:00Z --to 2026-11-22T09:00:00Z", "those of an hour"),
    ("afterword rebuild --table state --no-keep-old --yes", "one table at a time, with less disk"),
    ("afterword rebuild --state", "the state topic, from the events; the merger must be stopped"),
    ("afterword rebuild --drop-old", "drop the old tables, once you have looked at the new ones"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


class Name(StrEnum):
    """What a table is called on the command line."""

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
        list[Name] | None, typer.Option("--table", help="Only this table; may be given several times.")
    ] = None,
    state: Annotated[
        bool,
        typer.Option(
            "--state", help="Instead of tables, put the state topic right from the events that are known."
        ),
    ] = False,
    keep_unknown: Annotated[
        bool,
        typer.Option("--keep-unknown", help="Keep rows that the log does not know; else they are left out."),
    ] = False,
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old/--no-keep-old",
            help="Keep the old tables as …_before_rebuild, and with a scope what is deleted. Without, each is"
            " dropped once it is swapped, unless it has rows that the log does not know.",
        ),
    ] = True,
    drop_unknown: Annotated[
        bool,
        typer.Option(
            "--drop-unknown", help="With --state: remove states of requests of which no event is known."
        ),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Only drop the old tables that earlier rebuilds kept.")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Only clean up after a rebuild that was interrupted.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON objects, one a line.")] = False,
) -> None:
    """Make ClickHouse's tables anew from the log, beside live traffic.

    It says first what it would do, and does it with --yes, or once you agree
    on a terminal.

    Without a scope, each table is made anew beside the live one, compared
    with what was read, and swapped in at once: readers see no gap.  With
    --tenant, --from or --to, the rows of that scope are put right where they
    are.

    What the topics no longer hold is carried over: history from before the
    log's start, erasures, marks on dead letters.

    Interrupted anywhere, nothing is lost or half done; the same call begins
    anew, or finishes a swap that was done, and --abort cleans up.
    """
    scope = _scope(tenant, since, until)
    only = [
        name for name, given in (("--state", state), ("--drop-old", drop_old), ("--abort", abort)) if given
    ]
    if len(only) > 1:
        raise UsageError(f"{' and '.join(only)} are different things: one at a time")
    if only and (scope.is_timed or (tenant and not state)):
        raise UsageError(f"{only[0]} takes no --tenant, --from and --to, but that --state takes --tenant")
    wanted = run.RebuildOptions(
        scope=scope,
        kinds=chosen(one.value for one in table or ()),
        keep_unknown=keep_unknown,
        keep_old=keep_old,
        drop_unknown=drop_unknown,
        json=as_json,
    )
    _run(_act(wanted, state=state, drop_old=drop_old, abort=abort, yes=yes))


def _act(
    wanted: run.RebuildOptions, *, state: bool, drop_old: bool, abort: bool, yes: bool
) -> Coroutine[Any, Any, int]:
    # It logs each failed try; the error says once what did not answer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
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
        raise UsageError(f"{tenant!r} cannot be a tenant: small letters, digits and dashes, at most 63.")
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    try:
        first, last = (None if text is None else moment(text, now) for text in (since, until))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if first is not None and last is not None and first >= last:
        raise UsageError("--from must lie before --to")
    return RebuildScope(tenant, first, last)


def _run(act: Coroutine[Any, Any, int]) -> None:
    try:
        code = asyncio.run(act)
    except KeyboardInterrupt:
        typer.echo("Stopped.  The same call begins anew; `afterword rebuild --abort` cleans up.", err=True)
        raise
    raise typer.Exit(code)
