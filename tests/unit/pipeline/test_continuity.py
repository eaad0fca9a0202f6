"""Whether positions fit the log: each way they cannot, and the command that fixes it."""

from dataclasses import replace

import pytest

from services.pipeline.core.continuity import (
    ContinuityError,
    ContinuityFacts,
    ContinuityProblem,
    HeldPosition,
    LogRange,
    Recorded,
    next_generation,
    problems,
    refuse,
)
from services.runtime.kafka.core.log_mark import LogMark

SOUND = ContinuityFacts(
    service="sink",
    generation=0,
    cluster_id="kraft-1",
    recorded=Recorded(0, "kraft-1", 2),
    paired=("feedback-events", "feedback-state"),
    log={
        ("feedback-events", 0): LogRange(100, 200),
        ("feedback-events", 1): LogRange(0, 0),
        ("feedback-state", 0): LogRange(0, 90),
        ("feedback-state", 1): LogRange(0, 0),
    },
    positions=[HeldPosition("stored in ClickHouse", "feedback-state", 0, 90)],
)


def at(topic: str, partition: int, offset: int) -> ContinuityFacts:
    """Return sound facts but for one position."""
    return replace(SOUND, positions=[HeldPosition("committed by some-group", topic, partition, offset)])


def kinds(facts: ContinuityFacts) -> list[str]:
    """Return the codes of all problems."""
    return [problem.kind for problem in problems(facts)]


@pytest.mark.parametrize("offset", [100, 150, 200])
def test_a_position_from_the_first_record_to_just_behind_the_last_is_sound(offset: int) -> None:
    """Both ends of the log belong to it: nothing read yet, and everything read."""
    assert kinds(at("feedback-events", 0, offset)) == []


def test_a_position_beyond_the_end_asks_for_a_new_generation() -> None:
    """A recreated topic would count from zero again under the same versions."""
    (problem,) = problems(at("feedback-events", 0, 201))

    assert problem.kind == "beyond_the_end"
    assert "Offset 201 of feedback-events/0, committed by some-group, is beyond the log's end (200)" in str(
        problem
    )
    assert "`afterword recover`" in problem.mend


def test_a_position_in_a_partition_that_is_gone_is_beyond_the_end() -> None:
    """A topic recreated with fewer partitions has lost whole ones."""
    assert kinds(at("feedback-state", 7, 1)) == ["beyond_the_end"]


def test_a_position_below_the_start_asks_to_accept_the_loss() -> None:
    """Retention deleted records that this service had not read; only an operator may write them off."""
    (problem,) = problems(at("feedback-events", 0, 97))

    assert problem.kind == "below_the_start"
    assert "3 offsets were deleted" in problem.text
    assert "`afterword sink accept-loss`" in problem.mend


def test_another_cluster_is_refused_before_any_offset_is_judged() -> None:
    """Offsets of two clusters cannot be compared; the one message that helps comes alone."""
    facts = replace(at("feedback-events", 0, 201), cluster_id="kraft-2")

    (problem,) = problems(facts)

    assert problem.kind == "cluster_differs"
    assert "KAFKA_BOOTSTRAP_SERVERS" in problem.mend
    assert "`afterword recover`" in problem.mend


def test_a_deployment_without_a_record_asks_for_migrate() -> None:
    """Nothing can be compared before `afterword migrate` has run."""
    (problem,) = problems(replace(SOUND, recorded=None))

    assert problem.kind == "not_recorded"
    assert "`afterword migrate`" in problem.mend


def test_a_kafka_that_was_wiped_is_another_cluster_before_it_lacks_topics() -> None:
    """Migrating would be the wrong advice: it would make topics whose offsets begin again."""
    assert kinds(replace(SOUND, cluster_id="kraft-2", log={})) == ["cluster_differs"]


def test_a_missing_topic_asks_for_migrate() -> None:
    """Topics are never created by accident, so a missing one was never made or was deleted."""
    facts = replace(SOUND, log={("feedback-events", 0): LogRange(0, 0)})

    assert kinds(facts) == ["topic_missing"]


def test_topics_with_different_partition_counts_are_refused() -> None:
    """A row's partition is its events' partition; one more partition moves keys away from their state."""
    facts = replace(SOUND, log={**SOUND.log, ("feedback-events", 2): LogRange(0, 0)})

    (problem,) = problems(facts)

    assert problem.kind == "partitions_differ"
    assert "3 in feedback-events and 2 in feedback-state, where 2 were recorded" in problem.text


def test_partitions_added_to_both_topics_are_refused_as_well() -> None:
    """Equal counts are not enough: the record tells what they were when the first key was written."""
    grown = {("feedback-events", 2): LogRange(0, 0), ("feedback-state", 2): LogRange(0, 0)}

    assert kinds(replace(SOUND, log={**SOUND.log, **grown})) == ["partitions_differ"]


def test_every_position_that_does_not_fit_is_named() -> None:
    """An operator sees the whole damage at once."""
    positions = [
        HeldPosition("stored", "feedback-state", 0, 91),
        HeldPosition("stored", "feedback-state", 1, 0),
        HeldPosition("stored", "feedback-events", 0, 99),
    ]

    assert kinds(replace(SOUND, positions=positions)) == ["beyond_the_end", "below_the_start"]


def test_a_refusal_carries_text_and_mending_of_every_problem() -> None:
    """What stops the process is one error that says what to do."""
    found = problems(at("feedback-events", 0, 97))

    with pytest.raises(ContinuityError, match="To mend it: run `afterword sink accept-loss`"):
        refuse(found)

    refuse([])


@pytest.mark.parametrize(("generation", "following"), [(0, 2), (2, 3), (3, 4)])
def test_generations_follow_each_other_as_topic_names_do(generation: int, following: int) -> None:
    """`feedback-events` is followed by `feedback-events-v2`."""
    assert next_generation(generation) == following


MARK = LogMark(149, "0123456789abcdef")
REFUSED = ContinuityProblem(
    "beyond_the_end", "It was cut.", "recover", HeldPosition("a", "feedback-events", 0, 150, MARK)
)


SPOT = ("feedback-events", 0, 149)


def refused(found: dict[tuple[str, int, int], LogMark | None]) -> list[ContinuityProblem]:
    """Return what stands of a refusal when its own position fits the log again, by what the mark finds."""
    return problems(replace(SOUND, refused=[REFUSED], found=found))


def test_a_refused_log_stays_so_until_its_record_is_found_again() -> None:
    """The log is long enough for the position again, which proves nothing."""
    assert refused({}) == [REFUSED]
    assert refused({SPOT: None}) == [REFUSED]
    assert refused({SPOT: LogMark(149, "fedcba9876543210")}) == [REFUSED]
    assert refused({SPOT: MARK}) == []


def test_a_refusal_without_a_mark_ends_with_another_generation_only() -> None:
    """Nothing can show that the log is the right one."""
    assert REFUSED.position
    unmarked = replace(REFUSED, position=replace(REFUSED.position, mark=None))

    assert problems(replace(SOUND, refused=[unmarked])) == [unmarked]


def test_what_is_refused_again_is_named_once() -> None:
    """By what the position shows now."""
    facts = replace(at("feedback-events", 0, 250), refused=[REFUSED])

    (problem,) = problems(facts)
    assert problem.text.startswith("Offset 250 of feedback-events/0, committed by some-group, is beyond")


def test_a_mark_that_the_log_does_not_have_is_of_another_log() -> None:
    """New records have passed the old end, so that the offset fits."""
    position = HeldPosition("committed by some-group", "feedback-events", 0, 150, MARK)
    facts = replace(SOUND, positions=[position], found={SPOT: LogMark(149, "fedcba9876543210")})

    assert kinds(facts) == ["log_differs"]
    assert kinds(replace(facts, found={SPOT: MARK})) == []
    assert kinds(replace(facts, found={SPOT: None}, compacted=frozenset({"feedback-events"}))) == []
    assert kinds(replace(facts, found={})) == []
