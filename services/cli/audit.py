"""`afterword audit`: what was done with an operator's rights, when, by whom, and how it ended."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli.examples import epilog
from services.operations.core.times import ago
from services.operations.exits import CommandError, UsageError
from services.runtime.audit_log import is_kept
from services.runtime.settings import HomeSettings, load

FIXED = ("at", "act", "outcome", "by")
SHOWN = 5


EXAMPLES = (
    ("afterword audit --since 7d", "what was done this week"),
    ("afterword audit --act keys --json", "keys made and revoked, for scripts"),
    ("afterword audit --outcome refused", "what somebody tried without the right to"),
)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=epilog(EXAMPLES))
def audit(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from then on: 2h, 7d or 2026-11-22T08:00:00Z.")
    ] = None,
    act: Annotated[
        str | None, typer.Option(help="Only acts that begin with this: `keys`, or `dlq replay`.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only about this tenant.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only what ended so: begun, done, failed, refused.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The audit log; by default the one that the environment names."),
    ] = None,
) -> None:
    """List what was done with an operator's rights, oldest first.

    Each act that changes anything is written down before it begins and after
    it has ended: one that is only begun was cut off, or still runs.
    """
    path = file or load(HomeSettings).audit_file
    first = None if since is None else _moment(since)
    wanted = [
        entry
        for entry in _read(path)
        if is_wanted(entry, first=first, act=act, tenant=tenant, outcome=outcome)
    ]
    if as_json:
        for entry in wanted:
            typer.echo(json.dumps(entry, ensure_ascii=False))
    else:
        Console(highlight=False).print(_table(wanted))


def is_wanted(
    entry: dict[str, Any],
    *,
    first: datetime | None,
    act: str | None,
    tenant: str | None,
    outcome: str | None,
) -> bool:
    """Tell whether an entry is one of those that were asked for."""
    return (
        (first is None or datetime.fromisoformat(entry["at"]) >= first)
        and (act is None or f"{entry['act']} ".startswith(f"{act} "))
        and tenant in (None, entry.get("tenant"))
        and outcome in (None, entry["outcome"])
    )


def _read(path: Path) -> list[dict[str, Any]]:
    if not is_kept(path):
        raise CommandError(f"{path} keeps nothing: look where its lines are collected, or name a --file")
    try:
        with path.open(encoding="utf-8") as file:
            return list(_entries(file, path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CommandError(f"cannot read the audit log {path}: {error.strerror}") from error


def _entries(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            datetime.fromisoformat(entry["at"])
            is_entry = {"act", "outcome"} <= entry.keys()
        except (ValueError, KeyError, TypeError):
            is_entry = False
        if not is_entry:
            raise CommandError(f"{path}:{number} is no entry of an audit log")
        yield entry


def _table(entries: Iterable[dict[str, Any]]) -> Table:
    table = Table("at", "act", "outcome", "by", "facts", box=None, header_style="bold")
    for entry in entries:
        facts = " ".join(f"{name}={_plain(value)}" for name, value in entry.items() if name not in FIXED)
        at = f"{datetime.fromisoformat(entry['at']).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(at, entry["act"], entry["outcome"], entry.get("by", ""), escape(facts))
    return table


def _plain(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    shown = ",".join(map(str, value[:SHOWN]))
    return f"{shown},…({len(value)})" if len(value) > SHOWN else shown


def _moment(text: str) -> datetime:
    try:
        return ago(text, datetime.now(UTC))  # noqa: TID251 (the rim of a command)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from None
