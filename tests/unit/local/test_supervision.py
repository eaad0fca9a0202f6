"""What the supervisor decides about one part."""

import pytest

from services.local.core.plan import Part
from services.local.core.supervision import (
    LONGEST_REST_SECONDS,
    NOT_REACHABLE,
    SETTINGS_ARE_WRONG,
    SICK_SECONDS,
    STEADY_SECONDS,
    Observation,
    PartAction,
    PartState,
    Phase,
    rest_seconds,
    step,
)

SERVICE = Part("sink", needs=("kafka",))
TASK = Part("migrate", once=True)
NOTHING = Observation()
READY = Observation(ready=True, alive=True)
UNREADY = Observation(ready=False, alive=True, detail="clickhouse: does not answer")
SILENT = Observation(ready=False, alive=None, detail="it does not answer")
NOT_ALIVE = Observation(ready=False, alive=False, detail="progress: none")


def running(phase: Phase = Phase.READY, *, started: float = 0.0, ends: int = 0) -> PartState:
    """Return the state of a part that runs since `started`."""
    return PartState(phase, since=started, started=started, starts=1, ends_in_a_row=ends)


def after(
    state: PartState, *sights: Observation, part: Part = SERVICE, now: float = 100.0
) -> tuple[PartState, PartAction | None]:
    """Return the state and the last act after some sights at one moment."""
    act = None
    for observation in sights:
        state, act = step(part, state, observation, needs_fit=True, now=now)
    return state, act


def test_a_part_waits_for_what_it_needs() -> None:
    """It is started once its needs are fit, and not before."""
    waiting, nothing = step(SERVICE, PartState(), NOTHING, needs_fit=False, now=1.0)
    starting, act = step(SERVICE, waiting, NOTHING, needs_fit=True, now=2.0)

    assert (waiting.phase, nothing) == (Phase.WAITING, None)
    assert (starting.phase, act) == (Phase.STARTING, PartAction.START)
    assert (starting.started, starting.restarts) == (2.0, 0)


def test_a_part_is_ready_when_its_probe_succeeds() -> None:
    """Until then it starts, for however long it takes."""
    still, _ = after(running(Phase.STARTING), SILENT, UNREADY, now=1e6)
    ready, act = after(still, READY)

    assert (still.phase, ready.phase, act) == (Phase.STARTING, Phase.READY, None)


def test_a_ready_part_that_is_not_ready_now_is_not_restarted() -> None:
    """A server it needs is away; a restart would not bring it back."""
    ailing, act = after(running(), UNREADY, now=1e6)
    again, _ = after(ailing, READY)

    assert (ailing.phase, act, ailing.detail) == (Phase.AILING, None, "clickhouse: does not answer")
    assert (again.phase, again.detail) == (Phase.READY, "")


@pytest.mark.parametrize("observation", [NOT_ALIVE, SILENT], ids=["says so", "does not answer"])
def test_a_part_whose_liveness_fails_for_long_is_killed(observation: Observation) -> None:
    """It is killed after `SICK_SECONDS`, and not before."""
    sick, early = after(running(), observation, now=100.0)
    _, act = after(sick, observation, now=100.0 + SICK_SECONDS)

    assert (early, act) == (None, PartAction.KILL)


def test_a_part_that_recovers_its_liveness_is_not_killed() -> None:
    """The time counts from the newest failure on."""
    sick, _ = after(running(), NOT_ALIVE, now=100.0)
    well, _ = after(sick, READY, now=101.0)
    _, act = after(well, NOT_ALIVE, now=100.0 + SICK_SECONDS)

    assert act is None


def test_a_part_that_ends_rests_and_starts_again() -> None:
    """However it ended, even well: a service has no reason to."""
    for code in (0, 1, -9):
        resting, act = after(running(), Observation(exit_code=code, detail="ended"))
        early, nothing = after(resting, NOTHING, now=resting.due - 0.01)
        again, start = after(early, NOTHING, now=resting.due)

        assert (resting.phase, act, resting.detail) == (Phase.RESTING, None, "ended")
        assert (early.phase, nothing) == (Phase.RESTING, None)
        assert (again.phase, start, again.restarts) == (Phase.STARTING, PartAction.START, 1)


def test_a_part_does_not_start_again_while_what_it_needs_is_away() -> None:
    """It would only end again."""
    resting, _ = after(running(), Observation(exit_code=1))
    still, act = step(SERVICE, resting, NOTHING, needs_fit=False, now=resting.due + 1e6)

    assert (still.phase, act) == (Phase.RESTING, None)


def test_rests_grow_to_a_limit() -> None:
    """A part that keeps ending must not keep the machine busy."""
    assert [rest_seconds(ends) for ends in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert rest_seconds(1000) == LONGEST_REST_SECONDS


def test_a_steady_time_makes_rests_short_again() -> None:
    """One crash a day is no crash loop."""
    shaky, _ = after(running(started=0.0, ends=5), Observation(exit_code=1), now=STEADY_SECONDS - 1)
    steady, _ = after(running(started=0.0, ends=5), Observation(exit_code=1), now=STEADY_SECONDS)

    assert (shaky.ends_in_a_row, steady.ends_in_a_row) == (6, 1)


def test_wrong_settings_are_final() -> None:
    """Starting again with the same settings would end the same way."""
    failed, act = after(
        running(Phase.STARTING), Observation(exit_code=SETTINGS_ARE_WRONG, detail="INGEST_PRT: no")
    )

    assert (failed.phase, act, failed.detail) == (Phase.FAILED, None, "INGEST_PRT: no")
    assert (failed, None) == after(failed, NOTHING, READY)


def test_settings_with_which_a_part_was_ready_are_not_wrong() -> None:
    """A port that somebody had for a moment, say: the part is tried again."""
    ready, _ = after(running(Phase.STARTING), READY)
    resting, _ = after(ready, Observation(exit_code=SETTINGS_ARE_WRONG))

    assert resting.phase is Phase.RESTING


def test_a_task_that_ends_well_is_done() -> None:
    """And is not started again."""
    done, _ = after(running(Phase.STARTING), Observation(exit_code=0), part=TASK)

    assert done.phase is Phase.DONE
    assert (done, None) == after(done, NOTHING, part=TASK)


@pytest.mark.parametrize(
    ("code", "phase"),
    [(1, Phase.FAILED), (2, Phase.FAILED), (NOT_REACHABLE, Phase.RESTING), (-9, Phase.RESTING)],
)
def test_a_task_is_tried_again_only_when_that_can_help(code: int, phase: Phase) -> None:
    """Servers come back and kills pass; a difference that a person must mend stays."""
    state, _ = after(running(Phase.STARTING), Observation(exit_code=code), part=TASK)

    assert phase is state.phase
