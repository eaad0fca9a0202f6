"""Which command fixes a difference."""

from collections.abc import Collection
from enum import StrEnum


class DiffKind(StrEnum):
    """What can differ.  Stable codes, for scripts."""

    EVENT_MISSING = "event_missing"
    """The log has an event that `feedback_events` lacks, though its position is past it."""
    EVENT_CHANGED = "event_changed"
    """`feedback_events` has another content than the log."""
    EVENT_INVENTED = "event_invented"
    """`feedback_events` has a row where the log has another record, or will have one."""
    HOLE = "hole"
    """The log has no record at offsets between its start and its end."""
    NEVER_MERGED = "never_merged"
    """The merger's position is past an event that its state has not read."""
    KEYS_VANISHED = "keys_vanished"
    """`feedback-state` lacks what events of an earlier generation of the topics set."""
    STATE_MISSING = "state_missing"
    """The events yield a row that `feedback-state` does not have."""
    STATE_DIFFERS = "state_differs"
    """`feedback-state` has another row than the events yield."""
    STATE_INVENTED = "state_invented"
    """`feedback-state` has a row of a request without events."""
    ROW_MISSING = "row_missing"
    """`feedback_state` lacks a row that `feedback-state` has."""
    ROW_STALE = "row_stale"
    """`feedback_state` has an older row than it should."""
    ROW_CHANGED = "row_changed"
    """`feedback_state` has another row than `feedback-state`, under the same revision."""
    ROW_INVENTED = "row_invented"
    """`feedback_state` has a row that `feedback-state` does not."""
    ROW_DUPLICATED = "row_duplicated"
    """More than one row of a request is returned with FINAL."""
    ROW_REFUSED = "row_refused"
    """ClickHouse refused a row, which waits in the dead letters."""
    LETTER_MISSING = "letter_missing"
    """A dead letter that the table lacks."""
    LETTER_CHANGED = "letter_changed"
    """The table has another content for a dead letter than its topic."""
    LETTER_INVENTED = "letter_invented"
    """The table has a dead letter that its topic does not."""
    POSITION = "position"
    """A position or a deployment that does not fit the log."""
    TOPIC_SETTING = "topic_setting"
    """A topic is set up so that a promise does not hold."""


_STATES = frozenset(
    {
        DiffKind.NEVER_MERGED,
        DiffKind.KEYS_VANISHED,
        DiffKind.STATE_MISSING,
        DiffKind.STATE_DIFFERS,
        DiffKind.STATE_INVENTED,
        DiffKind.HOLE,
    }
)
_EVENTS = frozenset({DiffKind.EVENT_MISSING, DiffKind.EVENT_CHANGED, DiffKind.EVENT_INVENTED})
_LETTERS = frozenset({DiffKind.LETTER_MISSING, DiffKind.LETTER_CHANGED, DiffKind.LETTER_INVENTED})


RECOVERY = "afterword recover"
"""The command for a log that is not the one that the tables came from, and deletes nothing."""


def command(kind: DiffKind, tenants: Collection[str] = (), *, is_cut: bool = False) -> str:
    """Return the command that fixes a difference; narrowed to its tenant if only one is concerned.

    `is_cut`: the log lacks what the tables have, so that they may be the only copy, and are not rebuilt
    from the log.
    """
    if kind is DiffKind.ROW_REFUSED:
        return "afterword dlq replay --stage sink --reason refused_by_clickhouse"
    if kind is DiffKind.TOPIC_SETTING:
        return "afterword migrate"
    if is_cut:
        return RECOVERY
    if kind in _LETTERS:
        return "afterword rebuild --table dlq"
    only = f" --tenant {next(iter(tenants))}" if len(tenants) == 1 and kind is not DiffKind.HOLE else ""
    if kind in _STATES:
        return f"afterword rebuild --state{only}"
    return f"afterword rebuild --table {'events' if kind in _EVENTS else 'state'}{only}"
