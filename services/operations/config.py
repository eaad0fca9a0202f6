"""Checking the settings of each part: what it would start with, or every mistake in them."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from rich.table import Table

from services.operations.exits import UsageError
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


class CheckedPart(NamedTuple):
    """The settings of a part, or the mistakes in them."""

    part: str
    settings: list[DescribedSetting]
    mistakes: list[str]


def check_settings(parts: list[str], environ: Mapping[str, str]) -> list[CheckedPart]:
    """Return the settings of these parts, or of all that are installed; UsageError for an unknown part."""
    return [checked_settings(part, environ) for part in _chosen(parts)]


def checked_settings(part: str, environ: Mapping[str, str]) -> CheckedPart:
    """Return the settings of a part in this environment."""
    module, _, name = PARTS[part].partition(":")
    cls: type[Settings] = getattr(import_module(module), name)
    try:
        return CheckedPart(part, describe(load(cls, environ)), [])
    except SettingsError as error:
        return CheckedPart(part, [], error.mistakes)


def misspelt(checked: Iterable[CheckedPart], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a note for each variable that no part reads and that looks like one of theirs."""
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


def checked_as_json(checked: list[CheckedPart], near: list[str]) -> dict[str, Any]:
    """Return what `--json` prints; `near` are the notes of `misspelt`."""
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


def settings_table(part: CheckedPart) -> Table:
    """Return the settings of a part, those that differ from their default in bold."""
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
