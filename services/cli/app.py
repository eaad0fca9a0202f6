"""The `afterword` command: the table of its commands, each imported only when it runs.

So `--help` is quick, and works without the optional parts.
"""

import logging
import os
import sys
from functools import partial
from importlib import import_module
from typing import Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from services.operations.exits import UsageError, exit_code_of, unusable_file


class CommandRow(NamedTuple):
    """A command: its line in the list, and its module.  `extra` is the pip extra that it needs."""

    name: str
    target: str
    help: str
    panel: str
    extra: str = ""


STACK, TRAFFIC, OPERATIONS, SERVICES = "The local stack", "Feedback in and out", "Operations", "Services"
CLI = "services.cli"

COMMANDS = (
    CommandRow("up", f"{CLI}.up:up", "Run the whole stack here: no Docker, no Java.", STACK, "local"),
    CommandRow("status", f"{CLI}.status:status", "Show parts, lag, rows and dead letters.", STACK, "local"),
    CommandRow("send", f"{CLI}.send:app", "Send a file of feedback.", TRAFFIC, "client"),
    CommandRow("demo", f"{CLI}.demo:app", "Send synthetic demo traffic.", TRAFFIC, "client"),
    CommandRow("export", f"{CLI}.export:app", "Save feedback to a file.", TRAFFIC, "client"),
    CommandRow("migrate", f"{CLI}.migrate:app", "Create or update topics and tables.", OPERATIONS),
    CommandRow("dlq", f"{CLI}.dlq:app", "List, show, replay or drop dead letters.", OPERATIONS),
    CommandRow("verify", f"{CLI}.verify:app", "Compare the log, the states and ClickHouse.", OPERATIONS),
    CommandRow("erase", f"{CLI}.erase:app", "Delete a person's feedback for good.", OPERATIONS),
    CommandRow("rebuild", f"{CLI}.rebuild:app", "Rebuild tables from the log.", OPERATIONS),
    CommandRow("recover", f"{CLI}.recover:app", "Resume after Kafka lost data.", OPERATIONS),
    CommandRow("resize", f"{CLI}.resize:app", "Change the number of partitions.", OPERATIONS, "merger"),
    CommandRow("keys", f"{CLI}.keys:app", "Create, list, limit and revoke API keys.", OPERATIONS),
    CommandRow("audit", f"{CLI}.audit:app", "List operations with operator rights.", OPERATIONS),
    CommandRow("config", f"{CLI}.config:app", "Check the settings of each service.", OPERATIONS),
    CommandRow("ingest", f"{CLI}.service:ingest", "Run ingest: HTTP in, the log out.", SERVICES, "ingest"),
    CommandRow("merger", f"{CLI}.service:merger", "Run the merger: events to state.", SERVICES, "merger"),
    CommandRow("sink", f"{CLI}.service:sink", "Run the sink: the log to ClickHouse.", SERVICES, "sink"),
    CommandRow("query", f"{CLI}.service:query", "Run query: the read API and dashboard.", SERVICES, "query"),
)

_COMPLETION = ("install_completion", "show_completion")
"""Options of `afterword` itself, which Typer adds to every application."""

BESIDE_A_STACK = {
    row.name for row in COMMANDS if row.panel in (TRAFFIC, OPERATIONS) and row.name != "config"
} | {"status"}
"""Commands that find the local stack by themselves.  `config` shows the settings as they are."""

_rows = {row.name: row for row in COMMANDS}


class CommandTable(TyperGroup):
    """Replaces the placeholder of a command by the command when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the first argument names, loaded."""
        if row := _rows.get(args[0]):
            self.commands[row.name] = _load(row)
        return super().resolve_command(ctx, args)


def _load(row: CommandRow) -> TyperCommand | TyperGroup:
    _log_to_stderr()
    if row.panel != SERVICES:
        # It logs each failed attempt; the error of the command reports once what did not answer.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
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
    _reject_blanks(command)
    return command


def _reject_blanks(command: Any) -> None:
    """Make a command and its subcommands reject empty options: variables that were not set.

    `--user-id "$USER_ID"` would otherwise select every user.
    """
    for parameter in command.params:
        parameter.callback = partial(_not_blank, parameter.callback)
    for below in getattr(command, "commands", {}).values():
        _reject_blanks(below)


def _not_blank(then: Any, context: Any, parameter: Any, value: Any) -> Any:
    values = value if isinstance(value, list | tuple) else [value]
    given = context.get_parameter_source(parameter.name)
    if "" in values and given is not None and given.name == "COMMANDLINE":
        raise typer.BadParameter("it is empty: give a value, or omit the option", context, parameter)
    return then(context, parameter, value) if then else value


def _adopt_the_stack() -> None:
    """Direct the command to the local stack of AFTERWORD_HOME, where variables are unset."""
    from services.operations.destination import adopted  # noqa: PLC0415 (not needed to list the commands)

    os.environ.update(adopted(os.environ))


def _log_to_stderr() -> None:
    """Log to standard error, so that `--json` prints JSON only; services configure logging themselves."""
    import structlog  # noqa: PLC0415 (not needed to list the commands)

    structlog.configure(logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr))


def _missing(row: CommandRow, error: ModuleNotFoundError) -> UsageError:
    remedy = f"Install it: pip install 'afterword[{row.extra}]'" if row.extra else "Install Afterword again."
    return UsageError(f"afterword {row.name} needs {error.name}, which is not installed.  {remedy}")


app = typer.Typer(
    name="afterword",
    cls=CommandTable,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`afterword COMMAND --help` has examples.  Exit codes: 0 done, 1 rejects or differences found, "
    "2 usage or settings, 75 a required server is unreachable, 130 interrupted.",
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


def _placeholder() -> None:
    """Placeholder in the list; `CommandTable` replaces it before a call."""


for _row in COMMANDS:
    app.command(_row.name, help=_row.help, rich_help_panel=_row.panel)(_placeholder)


def _explained(error: Exception) -> Exception:
    """Return the error as one that users can fix, where the module that raised it did not."""
    if isinstance(error, ModuleNotFoundError) and (row := _rows.get(next(iter(sys.argv[1:]), ""))):
        return error if _is_ours(error) else _missing(row, error)
    return (unusable_file(error) if isinstance(error, OSError) else None) or error


def _is_ours(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in ("services", "schemas", "")


def main() -> None:
    """Run the command line; errors that users can fix end in a sentence, all others in a traceback."""
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
