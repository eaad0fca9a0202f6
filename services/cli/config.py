"""`afterword config`: what the settings of each part are, and everything that is wrong with them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, NamedTuple

import orjson
import typer
from rich.console import Console
from rich.table import Table

from services.cli.examples import epilog
from services.operations.exits import USAGE, UsageError
from services.runtime.settings import DescribedSetting, Settings, SettingsError, describe, load, service_links

PARTS = {
    "ingest": "services.ingest.settings:IngestSettings",
    "merger": "services.merger.settings:MergerSettings",
    "sink": "services.sink.settings:SinkSettings",
    "query": "services.query.settings:QuerySettings",
    "migrate": "services.operations.migrate.settings:MigrateSettings",
    "local": "services.local.settings:LocalSettings",
}
"""Where the settings of each part are; `local` is the stack that `afterword up` runs."""

EXAMPLES = (
    ("afterword config check", "the settings of every part that is installed"),
    ("afterword config check ingest sink", "of these two"),
    ("INGEST_PORT=80800 afterword config check ingest", "what would keep ingest from starting"),
    ("afterword config check --json", "for scripts; secrets are masked here, too"),
)

app = typer.Typer(
    no_args_is_help=True,
    help="Check the settings of each service.\n\n"
    "Settings are environment variables; an empty one counts as unset.",
)


class Checked(NamedTuple):
    """The settings of a part, or what is wrong with them."""

    part: str
    settings: list[DescribedSetting]
    mistakes: list[str]


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
    checked = [checked_settings(part, os.environ) for part in _chosen(parts or [])]
    near = sorted(set(nearly_known(checked, os.environ)))
    if as_json:
        typer.echo(orjson.dumps(_as_json(checked, near), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(checked, near)
    if any(part.mistakes for part in checked):
        raise typer.Exit(USAGE)


def checked_settings(part: str, environ: Mapping[str, str]) -> Checked:
    """Return what a part's settings are in this environment."""
    module, _, name = PARTS[part].partition(":")
    cls: type[Settings] = getattr(import_module(module), name)
    try:
        return Checked(part, describe(load(cls, environ)), [])
    except SettingsError as error:
        return Checked(part, [], error.mistakes)


def nearly_known(checked: Iterable[Checked], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that nobody reads but that looks like one that somebody does."""
    known = {setting.variable for part in checked for setting in part.settings}
    for name in environ.keys() - known - service_links(environ):
        for near in get_close_matches(name, known, n=1, cutoff=0.9):
            if near not in environ:
                yield f"{name} is read by none of these parts; did you mean {near}?"


def _chosen(parts: list[str]) -> list[str]:
    if unknown := [part for part in parts if part not in PARTS]:
        raise UsageError(f"{', '.join(unknown)}: no such part; there are {', '.join(PARTS)}")
    return parts or [part for part in PARTS if _is_installed(part)]


def _is_installed(part: str) -> bool:
    package = PARTS[part].partition(":")[0].rpartition(".")[0]
    return find_spec(package) is not None


def _as_json(checked: list[Checked], near: list[str]) -> dict[str, Any]:
    return {
        "sound": not any(part.mistakes for part in checked),
        "parts": {
            part.part: {
                "settings": {setting.variable: setting.value for setting in part.settings},
                "mistakes": part.mistakes,
            }
            for part in checked
        },
        "notes": near,
    }


def _show(checked: list[Checked], near: list[str]) -> None:
    out, errors = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    for part in checked:
        if part.mistakes:
            errors.print(f"{part.part} cannot start:", style="bold red")
            for mistake in part.mistakes:
                errors.print(f"  {mistake}", markup=False)
        else:
            out.print(_table(part))
    for line in near:
        errors.print(line, style="yellow", markup=False)


def _table(part: Checked) -> Table:
    table = Table(title=part.part, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("", overflow="fold", style="dim")
    for setting in part.settings:
        changed = setting.value != setting.default
        value = setting.value or "unset"
        note = (
            f"{setting.description}  Default: {setting.default or 'unset'}"
            if changed
            else setting.description
        )
        table.add_row(
            setting.variable, f"[bold]{_plain(value)}[/]" if changed else _plain(value), _plain(note)
        )
    return table


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
