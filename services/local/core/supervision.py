"""Decides what to do about one part of the stack (start it, kill it, wait), and words the log lines about it.

    waiting  --its needs are fit-->              starting
    starting --ready-->                          ready <--> ailing
    running  --ended-->                          resting --due, and its needs are fit--> starting
    running  --ended with 0, a one-off part-->   done
    running  --ended, a restart cannot help-->   failed

Times are seconds of a monotonic clock.
"""

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from services.local.core.plan import Part

SETTINGS_ARE_WRONG = 2
"""The exit code of a program whose settings are wrong."""
NOT_REACHABLE = 75
"""The exit code of a program that could not reach a server it needs."""

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 30.0
STEADY_SECONDS = 30.0
"""A part that was up this long restarts after the first, shortest delay."""

SICK_SECONDS = 30.0
"""A part whose liveness has failed this long is killed, and then restarts."""


class Phase(StrEnum):
    """Phases of a part's life cycle."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    AILING = "ailing"
    """It runs and was ready before, but is not ready now."""
    RESTING = "resting"
    """It ended, and restarts when it is due."""
    DONE = "done"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


RUNNING = frozenset({Phase.STARTING, Phase.READY, Phase.AILING})
FIT = frozenset({Phase.READY, Phase.DONE})
"""Phases in which parts that need this one may start."""


class PartAction(StrEnum):
    """What the supervisor must do to a part."""

    START = "start"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class PartState:
    """A part's state.

    `since`: when the phase began; `started`: when the program started; `due`: when a resting part restarts.
    """

    phase: Phase = Phase.WAITING
    since: float = 0.0
    started: float = 0.0
    due: float = 0.0
    starts: int = 0
    ends_in_a_row: int = 0
    has_been_ready: bool = False
    sick_since: float | None = None
    detail: str = ""

    @property
    def restarts(self) -> int:
        """The number of restarts."""
        return max(0, self.starts - 1)


@dataclass(frozen=True, slots=True)
class Observation:
    """One observation of a running part.

    `exit_code` is set once it has ended; negative: minus the number of the signal that ended it.
    `ready` is None if the part was not probed this time, `alive` is None if it did not answer.
    """

    exit_code: int | None = None
    ready: bool | None = None
    alive: bool | None = None
    detail: str = ""


def step(
    part: Part, state: PartState, observation: Observation, *, needs_fit: bool, now: float
) -> tuple[PartState, PartAction | None]:
    """Return the part's next state, and the action that it takes, if any."""
    if state.phase in RUNNING:
        if observation.exit_code is not None:
            return _ended(part, state, observation, now), None
        return _watched(state, observation, now)
    is_due = state.phase is Phase.WAITING or (state.phase is Phase.RESTING and now >= state.due)
    return (_started(state, now), PartAction.START) if is_due and needs_fit else (state, None)


def rest_seconds(ends_in_a_row: int) -> float:
    """Return the delay before a restart, after `ends_in_a_row` ends without a steady time between them."""
    doublings = min(ends_in_a_row - 1, 10)
    return float(min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**doublings))


def _started(state: PartState, now: float) -> PartState:
    return replace(
        _entered(state, Phase.STARTING, now), started=now, starts=state.starts + 1, sick_since=None
    )


def _watched(state: PartState, observation: Observation, now: float) -> tuple[PartState, PartAction | None]:
    """Return the next state of a running part after a probe."""
    if observation.ready is None:
        return state, None
    sick_since = (state.sick_since or now) if _is_sick(state, observation) else None
    if sick_since is not None and now - sick_since >= SICK_SECONDS:
        return replace(state, sick_since=now, detail="its liveness fails"), PartAction.KILL
    phase = _phase(state, ready=observation.ready)
    after = state if phase is state.phase else _entered(state, phase, now)
    ready_once = state.has_been_ready or observation.ready
    return replace(after, sick_since=sick_since, has_been_ready=ready_once, detail=observation.detail), None


def _is_sick(state: PartState, observation: Observation) -> bool:
    """Return whether liveness fails: it reports so, or it was ready and no longer answers."""
    has_been_ready = state.phase is not Phase.STARTING
    return observation.alive is False or (observation.alive is None and has_been_ready)


def _phase(state: PartState, *, ready: bool) -> Phase:
    if ready:
        return Phase.READY
    return Phase.STARTING if state.phase is Phase.STARTING else Phase.AILING


def _ended(part: Part, state: PartState, observation: Observation, now: float) -> PartState:
    """Return the state of a part that ended: done, to be restarted, or failed for good."""
    if part.once and observation.exit_code == 0:
        return _entered(state, Phase.DONE, now)
    if _is_final(part, state, observation.exit_code):
        return _entered(state, Phase.FAILED, now, observation.detail)
    was_steady = state.phase is not Phase.STARTING and now - state.started >= STEADY_SECONDS
    ends = 1 if was_steady else state.ends_in_a_row + 1
    resting = _entered(state, Phase.RESTING, now, observation.detail)
    return replace(resting, due=now + rest_seconds(ends), ends_in_a_row=ends)


def _is_final(part: Part, state: PartState, exit_code: int | None) -> bool:
    """Return whether a restart cannot help: wrong settings, or a task that failed for a reason to be fixed.

    Settings with which the part has been ready before are not wrong.
    """
    is_explained = exit_code is not None and exit_code > 0 and exit_code != NOT_REACHABLE
    wrong = exit_code == SETTINGS_ARE_WRONG and not state.has_been_ready
    return wrong or (part.once and is_explained)


def _entered(state: PartState, phase: Phase, now: float, detail: str = "") -> PartState:
    return replace(state, phase=phase, since=now, detail=detail)


_REFUSES = "refused: "
"""How merger and sink begin the reason that they are not ready, when the log has lost records."""
_SHOWN_APART = frozenset({"event", "service", "level", "timestamp", "logger", "exception"})


def announce(name: str, before: PartState, after: PartState) -> str | None:
    """Return a line about the change from one state to the next, or None if there is nothing to report."""
    if before.phase is after.phase:
        return f"{name}: not ready: {after.detail}" if _begins_to_refuse(before, after) else None
    return f"{name}: {_transition(before, after)}"


def _begins_to_refuse(before: PartState, after: PartState) -> bool:
    """Return whether a running part begins to refuse to work, which waiting does not resolve."""
    return _REFUSES in after.detail and _REFUSES not in before.detail


def is_routine(before: PartState, after: PartState) -> bool:
    """Return whether a change needs no line on a screen: a normal start, or a failure that ends the run."""
    goes_well = after.starts <= 1 and after.phase in {Phase.STARTING, Phase.READY, Phase.DONE}
    if _begins_to_refuse(before, after):
        return False
    return (goes_well and before.phase is not Phase.AILING) or after.phase is Phase.FAILED


def _transition(before: PartState, after: PartState) -> str:
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
    """Return how a program ended, with its last line, or with every line if its settings are wrong."""
    if exit_code < 0:
        return f"killed by {_signal_name(-exit_code)}"
    shown = last_lines if exit_code == SETTINGS_ARE_WRONG else last_lines[-1:]
    output = "; ".join(map(readable, shown))
    return f"ended with exit code {exit_code}" + (f": {output}" if output else "")


def readable(line: str) -> str:
    """Return a log line for the terminal: of a structured one, its event, its fields and the exception."""
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
