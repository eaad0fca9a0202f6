"""When everything is past everything: never too early, and in the end always."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from services.pipeline.core.barrier import LogBarrier
from services.pipeline.core.snapshot import PipelineSnapshot

EPOCH = datetime(2026, 11, 22, tzinfo=UTC)
PARTITIONS = 2
BEFORE = st.lists(st.sampled_from(["log", "log", "merge", "store", "store letters"]), max_size=8)
AFTER = st.lists(st.sampled_from(["merge", "merge", "store", "store", "store letters", "log"]), max_size=30)


class Pipeline:
    """One partition after the other: an event becomes a state and, every second one, a dead letter."""

    def __init__(self) -> None:
        self.logged = [0] * PARTITIONS
        self.merged = [0] * PARTITIONS
        self.states = [0] * PARTITIONS
        self.stored_states = [0] * PARTITIONS
        self.stored_events = [0] * PARTITIONS
        self.letters, self.stored_letters = 0, 0

    def move(self, step: str, one: int) -> None:
        """Let a stage do one thing, if it can."""
        match step:
            case "log":
                self.logged[one] += 1
            case "merge" if self.merged[one] < self.logged[one]:
                self.letters += self.merged[one] % 2
                self.states[one] += 2  # a row, and the marker of its transaction
                self.merged[one] += 1
            case "store":
                self.stored_states[one] = self.states[one]
                self.stored_events[one] = self.logged[one]
            case "store letters":
                self.stored_letters = self.letters
            case _:
                pass

    def snapshot(self) -> PipelineSnapshot:
        """Return where everybody is."""
        return PipelineSnapshot(
            at=EPOCH,
            logged=dict(enumerate(self.logged)),
            merged={number: end for number, end in enumerate(self.merged) if end},
            states=dict(enumerate(self.states)),
            stored_states=dict(enumerate(self.stored_states)),
            stored_events=dict(enumerate(self.stored_events)),
            letters={"dlq": self.letters},
            stored_letters={"dlq": self.stored_letters},
        )

    def is_past(self, target: list[int]) -> bool:
        """Return whether what came of all events below the target is stored."""
        letters = sum(end // 2 for end in target)
        return (
            all(self.stored_events[one] >= end for one, end in enumerate(target))
            and all(self.stored_states[one] >= 2 * end for one, end in enumerate(target))
            and self.stored_letters >= min(letters, self.letters)
            and all(self.merged[one] >= end for one, end in enumerate(target))
        )


@settings(max_examples=300)
@given(BEFORE, AFTER, st.lists(st.integers(0, PARTITIONS - 1), min_size=40, max_size=40))
def test_a_passage_is_passed_only_when_it_is_and_then_surely(
    before: list[str], after: list[str], places: list[int]
) -> None:
    """Whatever the stages do meanwhile."""
    pipeline, where = Pipeline(), iter(places)
    for step in before:
        pipeline.move(step, next(where))
    target = [*pipeline.logged]
    barrier = LogBarrier(dict(enumerate(target)))
    for step in after:
        pipeline.move(step, next(where))
        barrier = barrier.after(pipeline.snapshot())
        assert not barrier.is_passed or pipeline.is_past(target)

    for _ in range(max(pipeline.logged) + 1):
        for step in ("merge", "store", "store letters"):
            for one in range(PARTITIONS):
                pipeline.move(step, one)
        barrier = barrier.after(pipeline.snapshot())
    assert barrier.is_passed
    assert barrier.waits_for == ""
    assert barrier.after(pipeline.snapshot()) is barrier


def test_who_is_behind_is_named() -> None:
    """The merger first, then the sink."""
    pipeline = Pipeline()
    pipeline.move("log", 0)
    barrier = LogBarrier({0: 1, 1: 0}).after(pipeline.snapshot())
    assert barrier.waits_for == "merger"
    pipeline.move("merge", 0)
    assert barrier.after(pipeline.snapshot()).waits_for == "sink"


def test_dead_letters_are_waited_for() -> None:
    """An erase event may be among them, which then does not count."""
    pipeline = Pipeline()
    for step in ("log", "log", "merge", "merge", "store"):
        pipeline.move(step, 0)
    barrier = LogBarrier({0: 2, 1: 0}).after(pipeline.snapshot())
    assert barrier.waits_for == "sink"
    pipeline.move("store letters", 0)
    assert barrier.after(pipeline.snapshot()).is_passed


def test_rows_are_waited_for_that_were_written_when_the_merger_was_past() -> None:
    """Whatever is stored of the events themselves."""
    pipeline = Pipeline()
    for step in ("log", "merge"):
        pipeline.move(step, 0)
    pipeline.stored_events = [1, 0]
    barrier = LogBarrier({0: 1, 1: 0}).after(pipeline.snapshot())
    assert not barrier.is_passed
    pipeline.move("store", 0)
    assert barrier.after(pipeline.snapshot()).is_passed
