"""Reading the audit log: operations with operator rights, filtered and as a table."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from services.operations.exits import CommandError
from services.runtime.audit_log import is_kept

_COLUMNS = ("at", "act", "outcome", "by")
_MOST_VALUES = 5
"""Of a list in the column of details; more are counted."""

AuditEntry = dict[str, Any]
"""A line of the log, as it is in the file."""


@dataclass(frozen=True)
class AuditFilter:
    """Which entries to list; None matches any.  `act` is a prefix in whole words."""

    since: datetime | None = None
    act: str | None = None
    tenant: str | None = None
    outcome: str | None = None

    def matches(self, entry: AuditEntry) -> bool:
        """Return whether an entry is to be listed."""
        return (
            (self.since is None or datetime.fromisoformat(entry["at"]) >= self.since)
            and (self.act is None or f"{entry['act']} ".startswith(f"{self.act} "))
            and self.tenant in (None, entry.get("tenant"))
            and self.outcome in (None, entry["outcome"])
        )


def read_audit_log(path: Path, chosen: AuditFilter) -> list[AuditEntry]:
    """Return the matching entries, oldest first; none if the file is missing.  CommandError."""
    if not is_kept(path):
        raise CommandError(f"{path} keeps nothing: read the log where it is collected, or name a --file")
    try:
        with path.open(encoding="utf-8") as file:
            return [entry for entry in _entries(file, path) if chosen.matches(entry)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CommandError(f"cannot read the audit log {path}: {error.strerror}") from error


def _entries(lines: Iterable[str], path: Path) -> Iterator[AuditEntry]:
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            datetime.fromisoformat(entry["at"])
            is_entry = {"act", "outcome"} <= entry.keys()
        except (ValueError, KeyError, TypeError):
            is_entry = False
        if not is_entry:
            raise CommandError(f"{path}:{number} is not an entry of an audit log")
        yield entry


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    """Return the entries as text, details as `name=value`."""
    table = Table("at", "act", "outcome", "by", "details", box=None, header_style="bold")
    for entry in entries:
        details = " ".join(f"{name}={_plain(value)}" for name, value in entry.items() if name not in _COLUMNS)
        at = f"{datetime.fromisoformat(entry['at']).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(at, entry["act"], entry["outcome"], entry.get("by", ""), escape(details))
    return table


def _plain(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    shown = ",".join(map(str, value[:_MOST_VALUES]))
    return f"{shown},…({len(value)})" if len(value) > _MOST_VALUES else shown
