"""Confirmation of what a dry run has shown: `--yes`, or a question on a terminal."""

import sys
from collections.abc import Callable

import typer

Agree = Callable[[str], bool]
"""Takes a question, returns whether it is confirmed."""


def agreement(*, yes: bool, quiet: bool = False, err: bool = False) -> Agree:
    """Return the confirmation of a command: `yes` confirms everything, `quiet` never asks.

    Without a confirmation, that nothing was changed is printed, with `err` on standard error.
    """

    def agree(question: str) -> bool:
        if yes:
            return True
        if sys.stdin.isatty() and not quiet:
            return typer.confirm(question, default=False, err=True)
        typer.echo("Nothing was changed: this was a dry run.  Run it with --yes.", err=err)
        return False

    return agree
