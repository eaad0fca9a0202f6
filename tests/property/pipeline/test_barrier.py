"""The barrier and the watermark, against a pipeline that moves between any two readings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.pipeline.core.barrier import EventBarrier
from services.pipeline.core.snapshot import PipelineSnapshot
from services.pipeline.core.watermark import QueryableWatermark

KEY = b"default/r1"
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)
LETTERS = "feedback-events-dlq"


@dataclass
class Log:
    """A partition: what stands at each offset (None for a marker), and up to where it is committed."""

    records: list[int | None] = field(default_factory=list)
    committed: int = 0


@dataclass
class Pipeline:
    """One partition, stage by stage.  Events are numbers; odd ones are given up by the merger.

    The merger's offset is committed before the markers of its transaction are in the logs, as in Kafka.
    """

    clock: int = 0
    logged: list[int] = field(default_factory=list)
    """When each event was acknowledged."""
    merged: int = 0
    taken: int = 0
    states: Log = field(default_factory=Log)
    letters: Log = field(default_factory=Log)
    unmarked: list[Log] = field(default_factory=list)
    stored_states: int = 0
    stored_letters: int = 0
    stored_events: int = 0

    def step(self, kind: int) -> None:
        """Let some part do something, if it can."""
        self.clock += 1
        match kind:
            case 0:
                self.logged.append(self.clock)
            case 1 if not self.unmarked and self.taken == self.merged < len(self.logged):
                self._produce()
            case 2 if self.taken > self.merged:
                self.merged = self.taken
                self.unmarked = [self.states, self.letters]
            case 3 if self.unmarked:
                self._mark(self.unmarked.pop(0))
            case 4:
                self.stored_states = self.states.committed
            case 5:
                self.stored_letters = self.letters.committed
            case 6:
                self.stored_events = len(self.logged)
            case _:
                pass

    def _produce(self) -> None:
        self.taken = min(len(self.logged), self.merged + 2)
        for event in range(self.merged, self.taken):
            (self.letters if event % 2 else self.states).records.append(event)

    def _mark(self, log: Log) -> None:
        log.records.append(None)
        log.committed = len(log.records)

    def shows(self, event: int) -> bool:
        """Return whether the row of an event, or its dead letter, is where readers find it."""
        log, stored = (self.letters, self.stored_letters) if event % 2 else (self.states, self.stored_states)
        return event in log.records[:stored]

    def look(self, kinds: Iterator[int]) -> PipelineSnapshot:
        """Read all positions in their order, while the pipeline moves on between any two of them."""
        at = EPOCH + timedelta(seconds=self.clock)

        def then(offset: int) -> int:
            self.step(next(kinds))
            return offset

        return PipelineSnapshot(
            at=at,
            logged={0: then(len(self.logged))},
            merged={0: then(self.merged)},
            states={0: then(len(self.states.records))},
            stored_states={0: then(self.stored_states)},
            stored_events={0: then(self.stored_events)},
            letters={LETTERS: then(len(self.letters.records))},
            stored_letters={LETTERS: then(self.stored_letters)},
        )


def _for_ever(kinds: list[int]) -> Iterator[int]:
    """Yield the steps that were drawn, and then every step in turn."""
    yield from kinds
    while True:
        yield from (1, 2, 3, 3, 4, 5, 6)


def steps(most: int) -> st.SearchStrategy[list[int]]:
    """Draw steps; one part may stand still for as long as they last."""
    idle = st.integers(0, 7)
    return idle.flatmap(
        lambda absent: st.lists(st.sampled_from([kind for kind in range(7) if kind != absent]), max_size=most)
    )


@settings(max_examples=150)
@given(steps(60), steps(80))
def test_a_passed_barrier_is_never_early(before: list[int], during: list[int]) -> None:
    """Reached: the row is there.  Told: whatever became of the event is there, and its event too."""
    pipeline = Pipeline()
    for kind in [*before, 0]:
        pipeline.step(kind)
    event = len(pipeline.logged) - 1
    kinds, barrier = _for_ever(during), EventBarrier(KEY, event)

    for _ in range(60):
        barrier = barrier.after(pipeline.look(kinds))

        assert not barrier.is_beyond
        if barrier.is_reached:
            assert event % 2 or pipeline.shows(event)
        if barrier.is_decided:
            assert pipeline.shows(event)
            assert pipeline.stored_events > event
            assert barrier.consumed > event

    # All drawn steps are over by then, and the pipeline has run on for long enough.
    assert barrier.is_decided
    assert barrier.waits_for == ""


@settings(max_examples=100)
@given(steps(60), steps(120))
def test_what_the_watermark_covers_is_there(before: list[int], during: list[int]) -> None:
    """Everything acknowledged before its moment has become a row or was given up, at any time."""
    pipeline, marks = Pipeline(), QueryableWatermark()
    for kind in before:
        pipeline.step(kind)
    kinds = _for_ever(during)
    looked = EPOCH

    for _ in range(80):
        seen = pipeline.look(kinds)
        earlier, marks, looked = marks.moment, marks.after(seen), seen.at

        if marks.moment is not None:
            assert earlier is None or marks.moment >= earlier
            covered = [
                event
                for event, at in enumerate(pipeline.logged)
                if EPOCH + timedelta(seconds=at) <= marks.moment
            ]
            assert all(event % 2 or pipeline.shows(event) for event in covered)
            assert marks.passed[0].offset >= len(covered)

    # Nothing new has come for many looks, so the last one covers everything.
    assert marks.moment == looked


def test_a_newer_generation_has_everything_of_the_older_ones_behind_it() -> None:
    """It was opened once all of theirs was merged and stored; its own positions say nothing of them."""
    barrier = EventBarrier(KEY, 7, generation=0)
    assert not barrier.after(PipelineSnapshot(EPOCH, {0: 8}, {}, {}, {}, {}, {}, {})).is_reached

    known = barrier.after(PipelineSnapshot(EPOCH, {0: 0}, {}, {}, {}, {}, {}, {}, generation=2))
    assert known.is_reached
    assert known.is_decided
    assert not known.is_beyond
    assert known.consumed > 7
    assert (
        EventBarrier(KEY, 0, generation=2)
        .after(PipelineSnapshot(EPOCH, {}, {}, {}, {}, {}, {}, {}, generation=2))
        .is_beyond
    )


def test_an_offset_that_the_log_does_not_have_is_beyond() -> None:
    """Until it has one; a log without partitions has none."""
    pipeline = Pipeline()
    barrier = EventBarrier(KEY, 0)
    still = _for_ever([7] * 12)

    assert barrier.after(pipeline.look(still)).is_beyond
    pipeline.step(0)
    assert not barrier.after(pipeline.look(still)).is_beyond
    nothing = PipelineSnapshot(EPOCH, {}, {}, {}, {}, {}, {}, {})
    assert barrier.after(nothing).is_beyond
    assert QueryableWatermark().after(nothing).moment is None


def test_marks_do_not_grow_for_ever() -> None:
    """However long nothing is stored; the newest and the oldest are kept."""
    marks = QueryableWatermark()
    for second in range(1000):
        at = EPOCH + timedelta(seconds=second)
        marks = marks.after(PipelineSnapshot(at, {0: second + 1}, {}, {}, {}, {}, {}, {}))

    waiting = marks.waiting[0]
    assert len(waiting) <= 64
    assert waiting[0].at == EPOCH
    assert waiting[-1].at == EPOCH + timedelta(seconds=999)


def test_later_events_are_not_waited_for() -> None:
    """While more keeps coming, and the sink is always a look behind: what was fixed once is reached."""
    barrier, marks = EventBarrier(KEY, 0), QueryableWatermark()
    for look in range(1, 4):
        at = EPOCH + timedelta(seconds=look)
        ends, stored = {0: look}, {0: look - 1}
        seen = PipelineSnapshot(at, ends, ends, ends, stored, stored, {LETTERS: look}, {LETTERS: look - 1})
        barrier, marks = barrier.after(seen), marks.after(seen)

    assert barrier.is_decided
    assert marks.moment == EPOCH + timedelta(seconds=2)


def test_the_slowest_partition_is_the_watermark() -> None:
    """One that stands still holds it where that was passed last."""
    marks = QueryableWatermark()
    for look in range(1, 4):
        at, ends = EPOCH + timedelta(seconds=look), {0: look, 1: look}
        done = {0: look, 1: 1}
        marks = marks.after(PipelineSnapshot(at, ends, done, done, done, done, {}, {}))

    assert marks.moment == EPOCH + timedelta(seconds=1)
