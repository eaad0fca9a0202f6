"""The tables in ClickHouse: their names, and the numbered SQL files that make them.

The files name no database: they run in whichever CLICKHOUSE_DATABASE names.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

FEEDBACK = "feedback"
"""The view for analysts: one current row a request, every typed column by name."""

FEEDBACK_STATE = "feedback_state"
FEEDBACK_EVENTS = "feedback_events"
FEEDBACK_RATERS = "feedback_raters"
"""The view with the latest value of each rater."""
FEEDBACK_AGREEMENT = "feedback_agreement"
"""The view with the number of raters of a request, and how far they agree."""
DEAD_LETTERS = "dead_letters"
SINK_POSITIONS = "sink_positions"
DEPLOYMENTS = "deployments"
"""Generation, Kafka cluster id and partitions, as `afterword migrate` recorded them."""
REFUSALS = "refusals"
"""Why merger or sink do not work."""
ERASURES = "erasures"
"""Erasures that were asked for, and how far each is."""
ERASED_REQUESTS = "erased_requests"
"""Erase events that the merger has carried out: rows at or below them are deleted from every table."""
MIGRATIONS = "migrations"
"""Which SQL files were applied; `afterword migrate` makes this one itself."""

MINIMUM_VERSION = (26, 2)
"""The oldest ClickHouse that takes the tables: text indexes are in general use from 26.2 on."""

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file.  Each statement may run twice: a migration that was cut off starts again."""

    number: int
    name: str
    text: str

    @property
    def statements(self) -> list[str]:
        """The statements, without the semicolon that ends the last line of each."""
        return [part.strip() for part in re.split(r";[ \t]*(?:\n|\Z)", self.text) if part.strip()]

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hex: shows whether an applied file was edited since."""
        return sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return every migration in order."""
    found = [
        Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
        for entry in (files("schemas") / "clickhouse").iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda migration: migration.number)
