"""The options that say which dead letters are meant: the same for every command."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from schemas.deadletters import Reason, Stage
from services.operations.dlq.core.letters import Id, State, parse_id
from services.operations.dlq.core.selection import Selection, moment
from services.operations.exits import UsageError


class Wanted(StrEnum):
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
    Wanted | None,
    typer.Option(
        "--state",
        help="What became of them.  [default: open; of ids that are named: all]",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def selection(
    *,
    ids: Sequence[str] | None,
    reasons: Sequence[Reason] | None,
    stages: Sequence[Stage] | None,
    tenant: str | None,
    request_id: str | None,
    since: str | None,
    until: str | None,
    state: Wanted | None,
) -> Selection:
    """Return what the options select; UsageError."""
    now = datetime.now(UTC)  # noqa: TID251 (the rim of a command)
    try:
        return Selection(
            ids=tuple(dict.fromkeys(map(parse_id, ids or ()))),
            reasons=tuple(reasons or ()),
            stages=tuple(stages or ()),
            tenant=tenant,
            request_id=request_id,
            since=None if since is None else moment(since, now),
            until=None if until is None else moment(until, now),
            states=_states(state or (Wanted.ALL if ids else Wanted.OPEN)),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def one_id(text: str) -> Id:
    """Return the id of one dead letter; UsageError."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _states(wanted: Wanted) -> tuple[State, ...]:
    return () if wanted is Wanted.ALL else (State(wanted),)
