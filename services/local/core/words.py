"""What the supervisor says when a part's life takes a turn.  Pure."""

import json
import signal
from collections.abc import Sequence

from services.local.core.supervision import SETTINGS_ARE_WRONG, Phase, State

_REFUSES = "refused: "
"""Begins what the readiness of merger and sink says of a log that lost records."""
_SHOWN_APART = frozenset({"event", "service", "level", "timestamp", "logger", "exception"})


def announce(name: str, before: State, after: State) -> str | None:
    """Return a line about the change from one state to the next, or None when there is nothing to say."""
    if before.phase is after.phase:
        return f"{name}: not ready: {after.detail}" if _begins_to_refuse(before, after) else None
    return f"{name}: {_turn(before, after)}"


def _begins_to_refuse(before: State, after: State) -> bool:
    """Tell whether a part that runs has just said that it refuses to work: waiting for it does not help."""
    return _REFUSES in after.detail and _REFUSES not in before.detail


def is_routine(before: State, after: State) -> bool:
    """Tell whether a change is part of a start that goes well, or ends the run, which tells of it."""
    goes_well = after.starts <= 1 and after.phase in {Phase.STARTING, Phase.READY, Phase.DONE}
    if _begins_to_refuse(before, after):
        return False
    return (goes_well and before.phase is not Phase.AILING) or after.phase is Phase.FAILED


def _turn(before: State, after: State) -> str:
    took = after.since - after.started
    texts = {
        Phase.STARTING: "starting again" if after.restarts else "starting",
        Phase.READY: "ready again" if before.phase is Phase.AILING else f"ready after {took:.1f} s",
        Phase.AILING: f"not ready: {after.detail}",
        Phase.RESTING: f"{after.detail}; starts again in {after.due - after.since:.3g} s",
        Phase.DONE: f"done after {took:.1f} s",
    }
    return texts.get(after.phase, after.detail)


def ending(exit_code: int, last_lines: Sequence[str]) -> str:
    """Return how a program ended and what it said: its last line, or each mistake in its settings."""
    if exit_code < 0:
        return f"killed by {_signal_name(-exit_code)}"
    told = last_lines if exit_code == SETTINGS_ARE_WRONG else last_lines[-1:]
    said = "; ".join(map(readable, told))
    return f"ended with exit code {exit_code}" + (f": {said}" if said else "")


def readable(line: str) -> str:
    """Return a line of a log for people: of a structured one, its event and what it says went wrong."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "event" not in entry:
        return line
    fields = [f"{name}={value}" for name, value in entry.items() if name not in _SHOWN_APART]
    trouble = str(entry.get("exception", "")).strip().split("\n")[-1]
    return ", ".join([str(entry["event"]), *fields, *filter(None, [trouble])])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
