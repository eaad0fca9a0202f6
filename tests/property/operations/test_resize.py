"""A resize that is cut off anywhere ends, run again, in one open generation that has every state.

The servers are a model; what to do next is decided by the command's own rules, from the model's facts.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.operations.resize.core.plan import ResizeFacts, ResizeStep, next_step
from services.pipeline.core.generation_states import Generation, GenerationState, in_use, writable

WEIGHT = 2_000
"""Each record of the model stands for so many: enough of them are worth a copy ahead of the pause."""

KEYS = st.sampled_from("abc")
ACTS = st.one_of(
    st.tuples(st.just("event"), KEYS),
    st.tuples(st.sampled_from(["merge", "store", "step", "step", "step", "cut off", "abort"]), st.just("")),
)


@dataclass
class Run:
    """What one run of the command remembers."""

    compared_old: int = 0
    compared_new: int = 0
    is_fenced: bool = False


@dataclass
class World:
    """Two generations: what their logs hold, and how far merger, sink and copy are."""

    standing: dict[int, GenerationState] = field(default_factory=lambda: {0: GenerationState.OPEN})
    events: dict[int, list[str]] = field(default_factory=lambda: {0: [], 2: []})
    states: dict[int, list[tuple[str, int]]] = field(default_factory=lambda: {0: [], 2: []})
    merged: int = 0
    stored: int = 0
    copied: int = 0
    handed_over: int = 0
    is_recorded: bool = False
    has_arrived: bool = False
    refused: int = 0
    run: Run = field(default_factory=Run)

    def event(self, key: str) -> None:
        """Send an event to wherever ingest would."""
        number = writable([Generation(number, standing, 1) for number, standing in self.standing.items()])
        if number is None:
            self.refused += 1
        else:
            self.events[number].append(key)

    def merge(self) -> None:
        """Let the merger of the old generation take one event."""
        if self.merged < len(self.events[0]):
            self.states[0].append((self.events[0][self.merged], self.merged))
            self.merged += 1

    def store(self) -> None:
        """Let the sink store one state of the old generation."""
        self.stored = min(self.stored + 1, len(self.states[0]))

    def cut_off(self) -> None:
        """Kill the command: what it remembered is gone."""
        self.run = Run()

    def abort(self) -> None:
        """Go back, as `--abort` does."""
        if self.standing.get(2) is not GenerationState.OPEN:
            self.standing[0] = GenerationState.OPEN
        self.cut_off()

    def facts(self) -> ResizeFacts:
        """Return what the command would find out."""
        if self.standing[0] is GenerationState.OPEN:
            self.run.is_fenced = False
        old, new = self.states[0][: self.run.compared_old], self.states[2][: self.run.compared_new]
        differing = {key for key in "abc" if newest(old).get(key) != newest(new).get(key)}
        left = len(self.states[0]) - self.run.compared_old + len(self.states[2]) - self.run.compared_new
        return ResizeFacts(
            exists=2 in self.standing,
            is_recorded=self.is_recorded,
            is_closed=self.standing[0] is GenerationState.CLOSED,
            is_open=self.standing.get(2) is GenerationState.OPEN,
            uncopied=WEIGHT * (len(self.states[0]) - self.copied),
            unchecked=WEIGHT * left,
            differing=len(differing),
            unmerged=WEIGHT * (len(self.events[0]) - self.merged),
            unstored=WEIGHT * (len(self.states[0]) - self.stored),
            is_fenced=self.run.is_fenced,
            is_handed_over=self.handed_over == len(self.states[2]),
            has_arrived=self.has_arrived,
        )

    def step(self) -> ResizeStep:
        """Take the step that is called for; a part of it, where it has parts."""
        step = next_step(self.facts())
        acts: dict[ResizeStep, Any] = {
            ResizeStep.CREATE: lambda: self.standing.update({2: GenerationState.NEW}),
            ResizeStep.RECORD: lambda: setattr(self, "is_recorded", True),
            ResizeStep.COPY: self._copy,
            ResizeStep.CHECK: self._compare,
            ResizeStep.CLOSE: lambda: self.standing.update({0: GenerationState.CLOSED}),
            ResizeStep.DRAIN: self._wait,
            ResizeStep.FENCE: lambda: setattr(self.run, "is_fenced", True),
            ResizeStep.HAND_OVER: lambda: setattr(self, "handed_over", len(self.states[2])),
            ResizeStep.OPEN: lambda: self.standing.update({2: GenerationState.OPEN}),
            ResizeStep.ARRIVE: lambda: setattr(self, "has_arrived", True),
            ResizeStep.DONE: lambda: None,
        }
        acts[step]()
        return step

    def _copy(self) -> None:
        self.states[2].append(self.states[0][self.copied])
        self.copied += 1

    def _compare(self) -> None:
        if self.run.compared_old < len(self.states[0]):
            self.run.compared_old += 1
        else:
            self.run.compared_new += 1

    def _wait(self) -> None:
        self.merge()
        self.store()

    def check(self) -> None:
        """Hold what must be true at every moment."""
        assert list(self.standing.values()).count(GenerationState.OPEN) <= 1
        generations = [Generation(number, standing, 1) for number, standing in self.standing.items()]
        if in_use(generations) == 2:
            assert self.merged == len(self.events[0])
            assert self.stored == len(self.states[0])
            assert newest(self.states[2]) == newest(self.states[0])
            assert self.handed_over == len(self.states[2])


def newest(states: list[tuple[str, int]]) -> dict[str, int]:
    """Return the newest value of each key."""
    return dict(states)


@given(acts=st.lists(ACTS, max_size=60))
def test_whatever_happens_on_the_way_it_ends_in_one_open_generation_with_every_state(
    acts: list[tuple[str, str]],
) -> None:
    """Events, kills and aborts may come between any two steps, and in the middle of a copy."""
    world = World()
    for act, key in acts:
        if act == "event":
            world.event(key)
        else:
            getattr(world, act.replace(" ", "_"))()
        world.check()

    for _ in range(1_000):
        if world.step() is ResizeStep.DONE:
            break
        world.check()

    world.check()
    assert world.standing == {0: GenerationState.CLOSED, 2: GenerationState.OPEN}
    sent = sum(act == "event" for act, _ in acts)
    assert len(world.events[0]) + len(world.events[2]) + world.refused == sent


@given(differing=st.integers(1, 10))
def test_what_differs_is_never_opened(differing: int) -> None:
    """A copy that is not right ends the run, with the old generation still there."""
    facts = ResizeFacts(exists=True, is_recorded=True, is_closed=True, is_fenced=True, differing=differing)
    assert next_step(facts) is ResizeStep.DIFFERS


@given(unmerged=st.integers(0, 3), unstored=st.integers(0, 3), uncopied=st.integers(0, 3))
def test_nothing_is_copied_for_good_before_the_old_merger_is_drained_and_fenced(
    unmerged: int, unstored: int, uncopied: int
) -> None:
    """Else it could still write a state that the copy lacks."""
    facts = ResizeFacts(
        exists=True,
        is_recorded=True,
        is_closed=True,
        unmerged=unmerged,
        unstored=unstored,
        uncopied=uncopied,
    )
    assert next_step(facts) is (ResizeStep.DRAIN if unmerged or unstored else ResizeStep.FENCE)
