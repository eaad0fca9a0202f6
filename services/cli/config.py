"""The command line of `afterword config`."""

import os
from typing import Annotated

import orjson
import typer
from rich.console import Console

from services.cli.options import epilog
from services.operations.config import (
    PARTS,
    CheckedPart,
    check_settings,
    checked_as_json,
    misspelt,
    settings_table,
)
from services.operations.exits import USAGE

EXAMPLES = (
    ("afterword config check", "the settings of every part that is installed"),
    ("afterword config check ingest sink", "the settings of these two"),
    ("INGEST_PORT=80800 afterword config check ingest", "why ingest would not start"),
    ("afterword config check --json", "for scripts; secrets are masked"),
)

app = typer.Typer(
    no_args_is_help=True,
    help="Check the settings of each service.\n\n"
    "Settings are environment variables; an empty one counts as unset.",
)


@app.callback()
def config() -> None:
    """Keep `check` a command of its own, though it is the only one."""


@app.command(epilog=epilog(EXAMPLES))
def check(
    parts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PART]...", help=f"{', '.join(PARTS)}; by default all that are installed."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the settings that a service would start with, or all mistakes at once.

    Exit codes: 0 every part could start, 2 at least one could not.
    """
    checked = check_settings(parts or [], os.environ)
    near = sorted(set(misspelt(checked, os.environ)))
    if as_json:
        typer.echo(orjson.dumps(checked_as_json(checked, near), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(checked, near)
    if any(part.mistakes for part in checked):
        raise typer.Exit(USAGE)


def _show(checked: list[CheckedPart], near: list[str]) -> None:
    out, errors = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    for part in checked:
        if part.mistakes:
            errors.print(f"{part.part} cannot start:", style="bold red")
            for mistake in part.mistakes:
                errors.print(f"  {mistake}", markup=False)
        else:
            out.print(settings_table(part))
    for line in near:
        errors.print(line, style="yellow", markup=False)
