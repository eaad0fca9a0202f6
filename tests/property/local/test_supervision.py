"""Laws of supervision, whatever a part does and whenever."""

from hypothesis import given
from hypothesis import strategies as st

from services.local.core.plan import Part
from services.local.core.supervision import (
    FIT,
    LONGEST_REST_SECONDS,
    RUNNING,
    Observation,
    PartAction,
    PartState,
    Phase,
    step,
)

SIGHTS = st.builds(
    Observation,
    exit_code=st.none() | st.sampled_from([0, 1, 2, 75, -9, -15]),
    ready=st.none() | st.booleans(),
    alive=st.none() | st.booleans(),
)
MOMENTS = st.lists(st.tuples(st.floats(0, 100), st.booleans(), SIGHTS), max_size=40)


@given(part=st.builds(Part, name=st.just("part"), once=st.booleans()), moments=MOMENTS)
def test_a_part_is_started_only_when_it_does_not_run_and_its_needs_are_fit(
    part: Part, moments: list[tuple[float, bool, Observation]]
) -> None:
    """Never two processes of one part, no start before its time, no life after done or failed."""
    state, now = PartState(), 0.0
    for seconds, needs_fit, seen in moments:
        now += seconds
        observation = seen if state.phase in RUNNING else Observation()
        after, act = step(part, state, observation, needs_fit=needs_fit, now=now)
        if act is PartAction.START:
            assert state.phase in {Phase.WAITING, Phase.RESTING}
            assert needs_fit
            assert now >= state.due
        assert (after.starts - state.starts == 1) == (act is PartAction.START)
        if act is PartAction.KILL:
            assert state.phase in RUNNING
        if after.phase is Phase.RESTING:
            assert after.due - after.since <= LONGEST_REST_SECONDS
        if state.phase in {Phase.DONE, Phase.FAILED}:
            assert after == state
        state = after


@given(ends=st.integers(0, 60), needs=st.lists(st.booleans(), min_size=1, max_size=5))
def test_a_part_that_keeps_ending_is_started_again_for_ever(ends: int, needs: list[bool]) -> None:
    """However often it ended, it gets another start once it is due and its needs are fit."""
    part, state, now = Part("part"), PartState(), 0.0
    for _ in range(ends):
        state, _act = step(part, state, Observation(), needs_fit=True, now=now)
        state, _act = step(part, state, Observation(exit_code=1), needs_fit=True, now=now)
        now = state.due
    for fit in (*needs, True):
        state, act = step(part, state, Observation(), needs_fit=fit, now=now)
        if state.phase is Phase.STARTING:
            break

    assert (state.phase, act) == (Phase.STARTING, PartAction.START)
    assert state.phase not in FIT
