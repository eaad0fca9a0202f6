"""Retention of topics and tables: the settings, the present values, and the changes between them.

Times are in milliseconds, as in Kafka; a negative one is for ever.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS
from schemas.topics import DAY_MS, Topology
from services.operations.migrate.core.plan import ExistingTopic

HOUR_MS = 60 * 60 * 1000
RETENTION, TOMBSTONES, LAG, TTL = "retention.ms", "delete.retention.ms", "max.compaction.lag.ms", "TTL"

TIMES = {FEEDBACK_EVENTS: "appended_at", DEAD_LETTERS: "updated"}
"""The column with the age of a row.  A row that replaces another is never older than that."""

_TTL = re.compile(r" TTL toDateTime\(\w+\) \+ toIntervalDay\((\d+)\)")


@dataclass(frozen=True)
class RetentionChange:
    """A change of one setting of a topic or a table."""

    variable: str
    place: str
    setting: str
    before: int
    after: int

    @property
    def deletes(self) -> bool:
        """Whether the change deletes data."""
        shorter = self.after >= 0 and (self.before < 0 or self.after < self.before)
        return shorter and self.setting != LAG

    @property
    def text(self) -> str:
        """The change as text, as in `feedback-events keeps everything for 7 days (before: 30 days)`."""
        verb = {TOMBSTONES: "keeps tombstones for", LAG: "is compacted after at most"}
        does = verb.get(self.setting, "keeps everything for")
        return f"{self.place} {does} {duration_text(self.after)} (before: {duration_text(self.before)})"

    @property
    def statement(self) -> str:
        """The SQL statement of a table's change."""
        if self.after < 0:
            return f"ALTER TABLE {self.place} REMOVE TTL"
        days = self.after // DAY_MS
        return f"ALTER TABLE {self.place} MODIFY TTL toDateTime({TIMES[self.place]}) + toIntervalDay({days})"


def duration_text(milliseconds: int) -> str:
    """Return a time as text."""
    if milliseconds < 0:
        return "ever"
    unit, name = (DAY_MS, "day") if milliseconds % DAY_MS == 0 else (HOUR_MS, "hour")
    number = milliseconds / unit
    return f"{number:g} {name}" + ("" if number == 1 else "s")


def days(number: int) -> int:
    """Return days in milliseconds; 0 days are for ever."""
    return number * DAY_MS if number else -1


def topic_settings(wished: Mapping[str, int], topology: Topology) -> dict[str, dict[str, str]]:
    """Return the settings of new topics, by topic; the retention of states is set by `topic_changes`."""
    letters = {RETENTION: str(days(wished["retention_dead_letters_days"]))}
    return {
        topology.events.name: {RETENTION: str(days(wished["retention_events_days"]))},
        topology.state.name: {
            TOMBSTONES: str(days(wished["retention_tombstones_days"])),
            LAG: str(wished["retention_compaction_hours"] * HOUR_MS),
        },
        topology.events_dlq.name: letters,
        topology.state_dlq.name: letters,
    }


def topic_changes(
    given: Mapping[str, int], topology: Topology, existing: Mapping[str, ExistingTopic]
) -> Iterator[RetentionChange]:
    """Yield the changes of topics by settings that are set; unset ones change nothing."""
    state = topology.state.name
    letters = [topology.events_dlq.name, topology.state_dlq.name]
    wished = {
        "retention_events_days": (RETENTION, days, [topology.events.name]),
        "retention_dead_letters_days": (RETENTION, days, letters),
        "retention_tombstones_days": (TOMBSTONES, days, [state]),
        "retention_compaction_hours": (LAG, _hours, [state]),
        "retention_state_days": (RETENTION, days, [state]),
    }
    for name in sorted(given.keys() & wished.keys()):
        setting, in_milliseconds, places = wished[name]
        after = in_milliseconds(given[name])
        for place in places:
            before = _before(existing[place], setting, own=place != state or setting != RETENTION)
            if before != after:
                yield RetentionChange(name.upper(), place, setting, before, after)


_hours: Callable[[int], int] = HOUR_MS.__mul__


def _before(found: ExistingTopic, setting: str, *, own: bool) -> int:
    """Return the present value.  A compacted topic inherits the broker's retention, which has no effect."""
    config = found.config if own else found.overrides
    return int(config.get(setting, -1))


def table_changes(given: Mapping[str, int], engines: Mapping[str, str]) -> Iterator[RetentionChange]:
    """Yield the changes of tables by settings that are set; `engines` as in `system.tables`."""
    wished = {
        "retention_events_table_days": FEEDBACK_EVENTS,
        "retention_dead_letters_table_days": DEAD_LETTERS,
    }
    for name in sorted(given.keys() & wished.keys()):
        place, after = wished[name], days(given[name])
        before = ttl(engines[place])
        if before != after:
            yield RetentionChange(name.upper(), place, TTL, before, after)


def ttl(engine: str) -> int:
    """Return the retention of a table, from its engine in `system.tables`."""
    match = _TTL.search(engine)
    return days(int(match[1])) if match else -1


def without(found: ExistingTopic, setting: str) -> ExistingTopic:
    """Return a topic without one of its settings."""
    config = {name: value for name, value in found.config.items() if name != setting}
    return replace(found, config=config)
