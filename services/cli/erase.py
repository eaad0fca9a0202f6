"""The command line of `afterword erase`."""

import asyncio
from typing import Annotated

import typer

from services.cli.options import Yes, epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.erase import run
from services.operations.erase.core.subject import subject_of
from services.operations.erase.run import EraseSettings
from services.operations.exits import UsageError
from services.runtime.settings import load

EXAMPLES = (
    ("afterword erase --tenant default --user-id u-17", "what would be deleted; asks before doing it"),
    ("afterword erase --tenant default --request-id chatcmpl-1 --yes", "one request, for good"),
    ("afterword erase --tenant default --from-file ids.txt --yes --json > certificate.json", "many requests"),
)

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(epilog=epilog(EXAMPLES))
def erase(
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="Tenant of the feedback.")],
    request_id: Annotated[
        list[str] | None,
        typer.Option("--request-id", metavar="ID", help="This request; repeatable."),
    ] = None,
    user_id: Annotated[
        str | None,
        typer.Option(
            "--user-id",
            metavar="ID",
            help="Every request that names this user in data.user_id or request.user_id, now or at any time.",
        ),
    ] = None,
    from_file: Annotated[
        typer.FileText | None,
        typer.Option(
            "--from-file", encoding="utf-8", help="A file of request ids, one per line; - is standard input."
        ),
    ] = None,
    yes: Yes = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the certificate as one JSON object.")
    ] = False,
) -> None:
    """Delete a person's feedback for good.

    It prints what would be deleted, by table, and asks.  Then it appends erase
    events to the log, waits until they are merged and stored, deletes history,
    dead letters and older versions of rows, checks every table and topic, and
    prints a certificate: what was deleted, and what is kept where until when.

    It may be interrupted: a running sink completes what was begun.
    """
    try:
        about = subject_of(tenant, request_id or (), user_id, from_file)
    except ValueError as error:
        raise UsageError(str(error)) from error
    raise typer.Exit(
        asyncio.run(
            run.erase(named(load(EraseSettings), tenant), about, agreement(yes=yes, err=True), json=as_json)
        )
    )
