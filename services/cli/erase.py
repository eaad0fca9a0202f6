"""The command line of `afterword erase`: options in, exit codes out."""

import asyncio
import logging
from typing import Annotated

import typer

from services.cli.examples import epilog
from services.operations.confirm import agreement
from services.operations.destination import named
from services.operations.erase import run
from services.operations.erase.core.subject import subject
from services.operations.erase.settings import EraseSettings
from services.operations.exits import UsageError
from services.runtime.settings import load

EXAMPLES = (
    ("afterword erase --tenant default --user-id u-17", "what would go; then it asks"),
    ("afterword erase --tenant default --request-id chatcmpl-1 --yes", "one request, for good"),
    ("afterword erase --tenant default --from-file ids.txt --yes --json > certificate.json", "many"),
)

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(epilog=epilog(EXAMPLES))
def erase(
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose feedback it is.")],
    request_id: Annotated[
        list[str] | None,
        typer.Option("--request-id", metavar="ID", help="This request; may be given several times."),
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
        typer.Option("--from-file", encoding="utf-8", help="A file of request ids, one a line; - is stdin."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the certificate as one JSON object.")
    ] = False,
) -> None:
    """Remove a person's feedback for good.

    First it says what would go, by table, and asks.  Then it appends erase
    events to the log, waits until they are merged and stored, deletes what is
    left in history, dead letters and older versions of rows, asks every place
    again, and prints a certificate: what went, and what is kept where until
    when.

    It may be stopped anywhere: a running sink goes on with what was begun.
    """
    # It logs each failed try; the error says once what did not answer.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        about = subject(tenant, request_id or (), user_id, from_file)
    except ValueError as error:
        raise UsageError(str(error)) from error
    raise typer.Exit(
        asyncio.run(
            run.erase(named(load(EraseSettings), tenant), about, agreement(yes=yes, err=True), json=as_json)
        )
    )
