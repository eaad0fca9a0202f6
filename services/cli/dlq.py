"""The command line of `afterword dlq`."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.deadletters import Reason, Stage
from schemas.limits import MAX_BODY_BYTES
from services.cli.options import Yes, epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.dlq import run
from services.operations.dlq.core.dead_letter import DeadLetterId, DeadLetterState, parse_id
from services.operations.dlq.core.statements import DeadLetterSelection, moment
from services.operations.dlq.run import DlqSettings
from services.operations.exits import UsageError
from services.runtime.settings import load


class StateChoice(StrEnum):
    """What became of the dead letters that are meant."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"
    ALL = "all"


Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...", help="Ids of dead letters, as `list` shows them; all if none is given."
    ),
]
Reasons = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only with this reason; may be given several times.")
]
Stages = Annotated[list[Stage] | None, typer.Option("--stage", help="Only those that this part gave up.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
RequestOption = Annotated[
    str | None, typer.Option("--request-id", metavar="ID", help="Only about this request.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only what failed since then: 30m, 2h, 7d or 2026-11-22T08:00:00Z."),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only what failed before then.")]
StateOption = Annotated[
    StateChoice | None,
    typer.Option(
        "--state",
        help="What became of them.  [default: open; of ids that are named: all]",
        show_default=False,
    ),
]


def selection(
    *,
    ids: Sequence[str] | None,
    reasons: Sequence[Reason] | None,
    stages: Sequence[Stage] | None,
    tenant: str | None,
    request_id: str | None,
    since: str | None,
    until: str | None,
    state: StateChoice | None,
) -> DeadLetterSelection:
    """Return what the options select; UsageError."""
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    try:
        return DeadLetterSelection(
            ids=tuple(dict.fromkeys(map(parse_id, ids or ()))),
            reasons=tuple(reasons or ()),
            stages=tuple(stages or ()),
            tenant=tenant,
            request_id=request_id,
            since=None if since is None else moment(since, now),
            until=None if until is None else moment(until, now),
            states=_states(state or (StateChoice.ALL if ids else StateChoice.OPEN)),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def one_id(text: str) -> DeadLetterId:
    """Return the id of one dead letter; UsageError."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _states(wanted: StateChoice) -> tuple[DeadLetterState, ...]:
    return () if wanted is StateChoice.ALL else (DeadLetterState(wanted),)


EXAMPLES = (
    ("afterword dlq list", "all open dead letters"),
    ("afterword dlq show feedback-events-dlq/0/17", "one of them in full: content and advice"),
    ("afterword dlq replay --reason refused_by_clickhouse", "what a replay would do; asks before doing it"),
    ("afterword dlq replay feedback-events-dlq/0/17 --body corrected.json --yes", "with a corrected body"),
    ("afterword dlq drop --reason idempotency_conflict --since 2h", "drop recent conflicts"),
)

NARROW = "ids, --reason, --stage, --tenant, --request-id, --since, --until"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=epilog(EXAMPLES),
    help="List, show, replay or drop dead letters.\n\n"
    "A dead letter is a record that could not be processed, kept as it was.  A replay processes it at its"
    " original position: it fills what is missing and overwrites nothing newer, and a second replay changes"
    " nothing.",
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
    limit: Annotated[int, typer.Option(min=0, help="Maximum number; 0 is all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List dead letters, the latest first.

    By default the open ones: neither replayed nor dropped.
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
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the bytes of the value, and nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one dead letter in full: reason, origin, advice and content."""
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
            help="Replay this event instead of the original: for one id, same tenant and request.",
        ),
    ] = None,
    as_new_events: Annotated[
        bool,
        typer.Option(
            "--as-new-events",
            help="Give each idempotency_conflict an event id of its own, so that it is merged, too.",
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Replay dead letters at their original position.

    It prints what it would do, and does it with --yes, or once you confirm on a
    terminal.

    Those of the merger are sent to the events topic with their version, those
    of the sink are inserted into ClickHouse with their revision, and each is
    marked as replayed once that is acknowledged.  After an interruption, run
    the same command again.

    What cannot be replayed is skipped, with the reason, and the exit code is 1.
    What the merger refuses again becomes a new dead letter.
    """
    if body is not None and len(ids or ()) != 1:
        raise UsageError("--body is for one dead letter: give one id")
    wanted = selection(
        ids=ids, reasons=reason, stages=stage, tenant=tenant, request_id=request_id, since=since, until=until,
        state=state,
    )  # fmt: skip
    text = None if body is None else _read(body)
    replay = run.replay_selected(
        _settings(), wanted, agreement(yes=yes), body=text, as_new_events=as_new_events
    )
    _run(replay, interrupted=f"Stopped.  {run.RESUME}")


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
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Undo it: dropped ones are open again.")] = False,
    yes: Yes = False,
) -> None:
    """Mark dead letters as dropped.

    Lists and counts leave them out.  Nothing is deleted: `list --state
    dropped` shows them, and they can still be replayed, or opened again with
    --undo.
    """
    wanted = selection(
        ids=ids, reasons=reason, stages=stage, tenant=tenant, request_id=request_id, since=since, until=until,
        state=StateChoice.DROPPED if undo else StateChoice.OPEN,
    )  # fmt: skip
    if not wanted.is_narrow and not everything:
        raise UsageError(f"select dead letters by {NARROW}, or give --all")
    _run(run.drop(_settings(), wanted, agreement(yes=yes), undo=undo), interrupted="Stopped.")


def _settings() -> DlqSettings:
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
