"""The `afterword` command: a table of its commands, each loaded only when it is the one that runs.

Listing the commands imports none of them, so `--help` is quick and works though a part is missing.
"""

import os
import sys
from functools import partial
from importlib import import_module
from typing import Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from services.operations.exits import UsageError, exit_code_of, unusable_file


class Row(NamedTuple):
    """A command: its line in the list, and where it lives.  `extra` is what pip calls what it needs."""

    name: str
    target: str
    help: str
    panel: str
    extra: str = ""


STACK, TRAFFIC, OPERATION, SERVICES = "The local stack", "Feedback in and out", "Operation", "Services"
CLI = "services.cli"

COMMANDS = (
    Row("up", f"{CLI}.up:up", "Run the whole stack here: no Docker, no Java.", STACK, "local"),
    Row("status", f"{CLI}.status:status", "Show parts, lag, rows and dead letters.", STACK, "local"),
    Row("send", f"{CLI}.send:app", "Send a file of feedback.", TRAFFIC, "client"),
    Row("demo", f"{CLI}.demo:app", "Send invented, lifelike traffic.", TRAFFIC, "client"),
    Row("export", f"{CLI}.export:app", "Save feedback to a file.", TRAFFIC, "client"),
    Row("migrate", f"{CLI}.migrate:app", "Create or update topics and tables.", OPERATION),
    Row("dlq", f"{CLI}.dlq:app", "Look at dead letters, replay or drop them.", OPERATION),
    Row("verify", f"{CLI}.verify:app", "Compare the log, the states and ClickHouse.", OPERATION),
    Row("erase", f"{CLI}.erase:app", "Remove a person's feedback for good.", OPERATION),
    Row("rebuild", f"{CLI}.rebuild:app", "Make tables anew from the log.", OPERATION),
    Row("recover", f"{CLI}.recover:app", "Go on after Kafka lost something.", OPERATION),
    Row("resize", f"{CLI}.resize:app", "Change the number of partitions.", OPERATION, "merger"),
    Row("keys", f"{CLI}.keys:app", "Create, list, limit and revoke API keys.", OPERATION),
    Row("audit", f"{CLI}.audit:app", "List what was done with an operator's rights.", OPERATION),
    Row("config", f"{CLI}.config:app", "Check the settings of each service.", OPERATION),
    Row("ingest", f"{CLI}.service:ingest", "Run ingest: HTTP in, the log out.", SERVICES, "ingest"),
    Row("merger", f"{CLI}.service:merger", "Run the merger: events to state.", SERVICES, "merger"),
    Row("sink", f"{CLI}.service:sink", "Run the sink: the log to ClickHouse.", SERVICES, "sink"),
    Row("query", f"{CLI}.service:query", "Run query: the read API and dashboard.", SERVICES, "query"),
)

_COMPLETION = ("install_completion", "show_completion")
"""Options of `afterword` itself, which Typer adds to every application."""

BESIDE_A_STACK = {
    row.name for row in COMMANDS if row.panel in (TRAFFIC, OPERATION) and row.name != "config"
} | {"status"}
"""What is called beside a stack, and finds it wherever it listens.  `config` shows settings as they are."""

_rows = {row.name: row for row in COMMANDS}


class CommandTable(TyperGroup):
    """Swaps the listed stand-in of a command for the real one when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the first argument names, loaded."""
        if row := _rows.get(args[0]):
            self.commands[row.name] = _load(row)
        return super().resolve_command(ctx, args)


def _load(row: Row) -> TyperCommand | TyperGroup:
    _log_beside_the_output()
    module, _, attribute = row.target.partition(":")
    if row.name in BESIDE_A_STACK:
        _adopt_the_stack()
    try:
        target = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise _missing(row, error) from error
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command()(function)
    command = cast("TyperCommand | TyperGroup", get_command(target))
    command.name = row.name
    command.params = [parameter for parameter in command.params if parameter.name not in _COMPLETION]
    _refuse_blanks(command)
    return command


def _refuse_blanks(command: Any) -> None:
    """Have a command, and those below it, refuse options that are empty: variables that were not set.

    `--user-id "$USER_ID"` would otherwise be about everybody.
    """
    for parameter in command.params:
        parameter.callback = partial(_not_blank, parameter.callback)
    for below in getattr(command, "commands", {}).values():
        _refuse_blanks(below)


def _not_blank(then: Any, context: Any, parameter: Any, value: Any) -> Any:
    values = value if isinstance(value, list | tuple) else [value]
    given = context.get_parameter_source(parameter.name)
    if "" in values and given is not None and given.name == "COMMANDLINE":
        raise typer.BadParameter("it is empty: give a value, or leave it out", context, parameter)
    return then(context, parameter, value) if then else value


def _adopt_the_stack() -> None:
    """Have the settings of a command lead to the stack of AFTERWORD_HOME, as far as they are not set."""
    from services.operations.destination import adopted  # noqa: PLC0415 (not needed to list the commands)

    os.environ.update(adopted(os.environ))


def _log_beside_the_output() -> None:
    """Have what libraries tell go to standard error: `--json` must stay JSON; services set up more."""
    import structlog  # noqa: PLC0415 (not needed to list the commands)

    structlog.configure(logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr))


def _missing(row: Row, error: ModuleNotFoundError) -> UsageError:
    cure = f"Install it: pip install 'afterword[{row.extra}]'" if row.extra else "Install Afterword again."
    return UsageError(f"afterword {row.name} needs {error.name}, which is not installed.  {cure}")


app = typer.Typer(
    name="afterword",
    cls=CommandTable,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`afterword COMMAND --help` has examples.  Exit codes: 0 done, 1 rejects or differences found, "
    "2 usage or settings, 75 a server that it needs is not reachable, 130 interrupted.",
)


def _version(wanted: bool) -> None:  # noqa: FBT001 (Typer passes it by position)
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 (not needed to list the commands)

        typer.echo(f"afterword {version('afterword')}")
        raise typer.Exit


@app.callback()
def afterword(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Feedback on LLM answers: over HTTP in, the latest state of every request in SQL out."""


def _stand_in() -> None:
    """Be listed; `CommandTable` replaces this before anything is called."""


for _row in COMMANDS:
    app.command(_row.name, help=_row.help, rich_help_panel=_row.panel)(_stand_in)


def _explained(error: Exception) -> Exception:
    """Return what a user can mend of an error that some module, on its way, did not know how to explain."""
    if isinstance(error, ModuleNotFoundError) and (row := _rows.get(next(iter(sys.argv[1:]), ""))):
        return error if _is_ours(error) else _missing(row, error)
    return (unusable_file(error) if isinstance(error, OSError) else None) or error


def _is_ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in ("services", "schemas", "")


def main() -> None:
    """Run the command line; errors that a user can mend end in a sentence, all others in a traceback."""
    try:
        app()
    except Exception as raised:
        error = _explained(raised)
        code = exit_code_of(error)
        if code is None:
            raise
        typer.echo(f"{error}", err=True)
        sys.exit(code)


if __name__ == "__main__":
    main()
