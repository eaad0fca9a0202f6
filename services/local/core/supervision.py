"""What to do about one part of the stack: start it, kill it, or wait.  Pure: what was seen in, state out.

    waiting  --its needs are fit-->          starting
    starting --ready-->                      ready <--> ailing
    running  --ended-->                      resting --due, and its needs are fit--> starting
    running  --ended well, a once part-->    done
    running  --ended, no restart mends it--> failed

Times are seconds of a clock that never goes back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from services.local.core.plan import Part

SETTINGS_ARE_WRONG = 2
"""The exit code of a program that refuses its settings."""
NOT_REACHABLE = 75
"""The exit code of a program that could not reach a server it needs."""

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 30.0
STEADY_SECONDS = 30.0
"""A part that was up for so long starts again after the first, shortest rest."""

SICK_SECONDS = 30.0
"""A part whose liveness has failed for so long is killed, and then starts again."""


class Phase(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    AILING = "ailing"
    """It runs and was ready, and is not ready now."""
    RESTING = "resting"
    """It ended, and starts again when it is due."""
    DONE = "done"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


RUNNING = frozenset({Phase.STARTING, Phase.READY, Phase.AILING})
FIT = frozenset({Phase.READY, Phase.DONE})
"""Phases in which a part is what others need it to be."""


class Act(StrEnum):
    """What a part's state calls for."""

    START = "start"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class State:
    """A part's life so far.

    `since` is when the phase began, `started` when the program was, `due` when a resting part starts again.
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
        """How often it was started again."""
        return max(0, self.starts - 1)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a running part.

    `exit_code` is set once it has ended; below 0 it is the number of the signal that ended it.
    `ready` is None when nobody asked this time.  `alive` is None when nobody answered.
    """

    exit_code: int | None = None
    ready: bool | None = None
    alive: bool | None = None
    detail: str = ""


def step(part: Part, state: State, sight: Sight, *, needs_fit: bool, now: float) -> tuple[State, Act | None]:
    """Return the part's next state, and what must be done to get there."""
    if state.phase in RUNNING:
        if sight.exit_code is not None:
            return _ended(part, state, sight, now), None
        return _watched(state, sight, now)
    is_due = state.phase is Phase.WAITING or (state.phase is Phase.RESTING and now >= state.due)
    return (_started(state, now), Act.START) if is_due and needs_fit else (state, None)


def rest_seconds(ends_in_a_row: int) -> float:
    """Return how long a part rests after that many ends without a steady time between them."""
    doublings = min(ends_in_a_row - 1, 10)
    return float(min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**doublings))


def _started(state: State, now: float) -> State:
    return replace(
        _entered(state, Phase.STARTING, now), started=now, starts=state.starts + 1, sick_since=None
    )


def _watched(state: State, sight: Sight, now: float) -> tuple[State, Act | None]:
    """Take in what a running part's probes said."""
    if sight.ready is None:
        return state, None
    sick_since = (state.sick_since or now) if _is_sick(state, sight) else None
    if sick_since is not None and now - sick_since >= SICK_SECONDS:
        return replace(state, sick_since=now, detail="its liveness fails"), Act.KILL
    phase = _phase(state, ready=sight.ready)
    after = state if phase is state.phase else _entered(state, phase, now)
    ready_once = state.has_been_ready or sight.ready
    return replace(after, sick_since=sick_since, has_been_ready=ready_once, detail=sight.detail), None


def _is_sick(state: State, sight: Sight) -> bool:
    """Tell whether liveness fails: it says so itself, or it has been ready and does not answer any more."""
    has_been_ready = state.phase is not Phase.STARTING
    return sight.alive is False or (sight.alive is None and has_been_ready)


def _phase(state: State, *, ready: bool) -> Phase:
    if ready:
        return Phase.READY
    return Phase.STARTING if state.phase is Phase.STARTING else Phase.AILING


def _ended(part: Part, state: State, sight: Sight, now: float) -> State:
    """Judge the end of a part: done, to be started again, or beyond what a restart can mend."""
    if part.once and sight.exit_code == 0:
        return _entered(state, Phase.DONE, now)
    if _is_final(part, state, sight.exit_code):
        return _entered(state, Phase.FAILED, now, sight.detail)
    was_steady = state.phase is not Phase.STARTING and now - state.started >= STEADY_SECONDS
    ends = 1 if was_steady else state.ends_in_a_row + 1
    resting = _entered(state, Phase.RESTING, now, sight.detail)
    return replace(resting, due=now + rest_seconds(ends), ends_in_a_row=ends)


def _is_final(part: Part, state: State, exit_code: int | None) -> bool:
    """Tell whether a restart cannot help: wrong settings, or a task that found what a person must mend.

    Settings with which the part has been ready before are not wrong.
    """
    says_why = exit_code is not None and exit_code > 0 and exit_code != NOT_REACHABLE
    wrong = exit_code == SETTINGS_ARE_WRONG and not state.has_been_ready
    return wrong or (part.once and says_why)


def _entered(state: State, phase: Phase, now: float, detail: str = "") -> State:
    return replace(state, phase=phase, since=now, detail=detail)
