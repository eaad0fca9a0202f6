"""Whether to do what a dry run has shown: asked on a terminal, told by `--yes` elsewhere."""

import sys
from collections.abc import Callable

import typer

Agree = Callable[[str], bool]
"""Is told what would be done, and says whether to do it."""


def agreement(*, yes: bool, quiet: bool = False, err: bool = False) -> Agree:
    """Return who decides: `yes` for all questions, else a person.  `quiet` asks nobody.

    That nothing was changed goes to the standard output, or to the error output with `err`.
    """

    def agree(question: str) -> bool:
        if yes:
            return True
        if sys.stdin.isatty() and not quiet:
            return typer.confirm(question, default=False, err=True)
        typer.echo("Nothing was changed: this was a dry run.  --yes does it.", err=err)
        return False

    return agree
