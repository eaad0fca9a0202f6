"""The command line of `afterword audit`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.cli.options import epilog
from services.operations.audit_log import AuditFilter, audit_table, read_audit_log
from services.operations.core.times import ago
from services.operations.exits import UsageError
from services.runtime.settings import HomeSettings, load

EXAMPLES = (
    ("afterword audit --since 7d", "operations of this week"),
    ("afterword audit --act keys --json", "keys created and revoked, for scripts"),
    ("afterword audit --outcome refused", "attempts without the right to"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=epilog(EXAMPLES))
def audit(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only since this time: 2h, 7d or 2026-11-22T08:00:00Z.")
    ] = None,
    act: Annotated[
        str | None, typer.Option(help="Only operations that begin with this: `keys`, or `dlq replay`.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those on this tenant.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only with this outcome: begun, done, failed, refused.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the entries as JSON, one a line.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The audit log; by default the one of the environment."),
    ] = None,
) -> None:
    """List operations with operator rights, oldest first.

    Each operation that changes anything is logged before it begins and after
    it has ended: without a second entry it was interrupted, or still runs.
    """
    chosen = AuditFilter(None if since is None else _time(since), act, tenant, outcome)
    entries = read_audit_log(file or load(HomeSettings).audit_file, chosen)
    if as_json:
        for entry in entries:
            typer.echo(json.dumps(entry, ensure_ascii=False))
    else:
        Console(highlight=False).print(audit_table(entries))


def _time(text: str) -> datetime:
    try:
        return ago(text, datetime.now(UTC))  # noqa: TID251 (the rim of a command)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from None
