"""The command line of `afterword dlq`: options in, exit codes out."""

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.limits import MAX_BODY_BYTES
from services.cli.dlq_options import (
    Ids,
    Reasons,
    RequestOption,
    Since,
    Stages,
    StateOption,
    TenantOption,
    Until,
    Wanted,
    Yes,
    one_id,
    selection,
)
from services.cli.examples import epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.dlq import run
from services.operations.dlq.settings import DlqSettings
from services.operations.exits import UsageError
from services.runtime.settings import load

EXAMPLES = (
    ("afterword dlq list", "what waits for somebody to look"),
    ("afterword dlq show feedback-events-dlq/0/17", "one of them whole: what it held, what to do"),
    ("afterword dlq replay --reason refused_by_clickhouse", "what a replay would do; then it asks"),
    ("afterword dlq replay feedback-events-dlq/0/17 --body corrected.json --yes", "with another body"),
    ("afterword dlq drop --reason idempotency_conflict --since 2h", "what nobody wants"),
)

NARROW = "ids, --reason, --stage, --tenant, --request-id, --since, --until"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=epilog(EXAMPLES),
    help="Look at dead letters, replay them, or drop them.\n\n"
    "A dead letter is a record that could not be processed; nothing is lost with it.  A replay puts it back"
    " into its own place in the order: it fills what is missing and overwrites nothing newer, and doing it"
    " twice changes nothing.",
)


@app.command("list", epilog=epilog(EXAMPLES[:1]))
def list_(
    ids: Ids = None,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    tenant: TenantOption = None,
    request_id: RequestOption = None,
    since: Since = None,
    until: Until = None,
    state: StateOption = None,
    limit: Annotated[int, typer.Option(min=0, help="How many at most, the latest first; 0 is all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List dead letters, the latest first.

    They are those that nobody has replayed or dropped, unless --state says
    otherwise.
    """
    wanted = selection(
        ids=ids, reasons=reason, stages=stage, tenant=tenant, request_id=request_id, since=since, until=until,
        state=state,
    )  # fmt: skip
    _run(run.show_list(_settings(), wanted, limit, json=as_json))


@app.command(epilog=epilog(EXAMPLES[1:2]))
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="A dead letter, as `list` shows it.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write the value's bytes, and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one dead letter whole: why, from where, what to do, and what it held."""
    _run(run.show_one(_settings(), one_id(letter), raw=raw, json=as_json))


@app.command(epilog=epilog(EXAMPLES[2:4]))
def replay(
    ids: Ids = None,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    tenant: TenantOption = None,
    request_id: RequestOption = None,
    since: Since = None,
    until: Until = None,
    state: StateOption = None,
    body: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Replay this event instead of the original one: one id, the same tenant and request.",
        ),
    ] = None,
    as_new_events: Annotated[
        bool,
        typer.Option(
            "--as-new-events",
            help="Give each idempotency_conflict an event id of its own, so that it counts, too.",
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Put dead letters back into their place in the order.

    It says first what it would do, and does it with --yes, or once you agree
    on a terminal.

    The merger's go back to the events topic with the version that they had;
    the sink's are inserted into ClickHouse with the revision that they had.
    Each is marked as replayed once that is acknowledged.  After an
    interruption the same call goes on.

    What cannot be put back is left, with the reason, and the exit code is 1.
    What the merger refuses again becomes a new dead letter.
    """
    if body is not None and len(ids or ()) != 1:
        raise UsageError("--body is for one dead letter: give its id, and no other")
    wanted = selection(
        ids=ids, reasons=reason, stages=stage, tenant=tenant, request_id=request_id, since=since, until=until,
        state=state,
    )  # fmt: skip
    text = None if body is None else _read(body)
    act = run.put_back(_settings(), wanted, agreement(yes=yes), body=text, as_new_events=as_new_events)
    _run(act, interrupted=f"Stopped.  {run.GO_ON}")


@app.command(epilog=epilog(EXAMPLES[4:]))
def drop(
    ids: Ids = None,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    tenant: TenantOption = None,
    request_id: RequestOption = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, whatever they are.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back: dropped ones are open again.")] = False,
    yes: Yes = False,
) -> None:
    """Mark dead letters as dropped: nobody wants them.

    Lists and counts leave them out.  Nothing is deleted: `list --state
    dropped` shows them, and they can still be replayed, or opened again with
    --undo.
    """
    wanted = selection(
        ids=ids, reasons=reason, stages=stage, tenant=tenant, request_id=request_id, since=since, until=until,
        state=Wanted.DROPPED if undo else Wanted.OPEN,
    )  # fmt: skip
    if not wanted.is_narrow and not everything:
        raise UsageError(f"say which ones: {NARROW} or --all")
    _run(run.drop(_settings(), wanted, agreement(yes=yes), undo=undo), interrupted="Stopped.")


def _settings() -> DlqSettings:
    # It logs each failed try; the error says once what did not answer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return named(load(DlqSettings))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(MAX_BODY_BYTES + 1)
    if len(text) > MAX_BODY_BYTES:
        raise UsageError(f"--body: {path} is larger than any event")
    return text


def _run(act: Coroutine[Any, Any, int], *, interrupted: str = "") -> None:
    try:
        code = asyncio.run(act)
    except KeyboardInterrupt:
        typer.echo(interrupted, err=True)
        raise
    raise typer.Exit(code)
