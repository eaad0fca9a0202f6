"""Decides whether a consumer may trust its positions; each problem has the command that fixes it.

A position is a promise that everything before it was dealt with.  After Kafka was wiped, a topic
recreated or a log cut short, the numbers still look like positions but mean other records; to continue
would skip some for ever, and versions would no longer grow.  So the merger and the sink ask here
first, after each reconnect, and whenever a log ends below a position; they refuse on any problem.
Offsets alone show a cut log only until new records pass its old end: see `log_mark`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.runtime.kafka.core.log_mark import LogMark, MarkMatch, match

BEYOND, DIFFERS = "beyond_the_end", "log_differs"
LOST = frozenset({BEYOND, DIFFERS})
"""Kinds of problems that show a log which lost records: they do not end by themselves."""


@dataclass(frozen=True)
class LogRange:
    """The offsets that a partition holds: `start` is its first record's, `end` its next record's."""

    start: int
    end: int


@dataclass(frozen=True)
class HeldPosition:
    """The offset of the next record to read, and its holder, such as `committed by feedback-merger-v0`.

    `mark` identifies a record below it, None when none is known.
    """

    holder: str
    topic: str
    partition: int
    offset: int
    mark: LogMark | None = None


@dataclass(frozen=True)
class Recorded:
    """What `afterword migrate` wrote down about a generation of topics."""

    generation: int
    cluster_id: str
    partitions: int


@dataclass(frozen=True, kw_only=True)
class ContinuityFacts:
    """All that the decision needs.

    `log` has a range for each partition that exists now.  `paired` are topics that must have equally
    many partitions, the number that was recorded.  `recorded` is None when nothing was.  `found` has, by
    topic, partition and offset, the first record that the log has there or behind it, None for none; a mark
    whose offset was not looked at is not compared.
    """

    service: str
    generation: int
    cluster_id: str
    recorded: Recorded | None
    paired: tuple[str, ...]
    is_filled: bool = True
    """Whether the states of older generations are in the state topic, as far as is known."""
    log: Mapping[tuple[str, int], LogRange]
    positions: Sequence[HeldPosition] = field(default=())
    found: Mapping[tuple[str, int, int], LogMark | None] = field(default_factory=dict)
    compacted: frozenset[str] = frozenset()
    """Topics that Kafka deletes records from anywhere."""
    refused: Sequence["ContinuityProblem"] = field(default=())
    """What was refused before, of the kinds in LOST: it holds until its mark is found in the log again."""


@dataclass(frozen=True)
class ContinuityProblem:
    """Why a consumer must not start, and what to do about it.  `kind` is a stable short code."""

    kind: str
    text: str
    mend: str
    position: HeldPosition | None = None
    """The position that does not fit, if it is one that does not."""

    def __str__(self) -> str:
        return f"{self.text}\n  To mend it: {self.mend}"


RECOVER = (
    "run `afterword recover`: it fills the next generation of topics from all that ClickHouse and Kafka still"
    " have, deletes nothing, and versions go on growing"
)
"""The fix for any loss in Kafka."""


class ContinuityError(Exception):
    """The positions of a service do not fit the log.  `problems` has why, and the fix."""

    def __init__(self, problems: Sequence[ContinuityProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


_ABANDONED = "abandoned: "
"""Before the cluster id of a generation whose log is not the tables' any more."""


def abandoned(record: Recorded) -> Recorded:
    """Return what to write down of a generation once another one was filled in its place.

    Its log may lack what the tables have, and may have given offsets out twice, so nothing compares them
    with it any more, and no service works on it again.
    """
    return record if is_abandoned(record) else replace(record, cluster_id=_ABANDONED + record.cluster_id)


def is_abandoned(record: Recorded) -> bool:
    """Return whether a generation was abandoned, and all of it filled into a newer one."""
    return record.cluster_id.startswith(_ABANDONED)


def next_generation(generation: int) -> int:
    """Return the generation that follows; topics without a suffix are 0, and `-v2` comes next."""
    return max(2, generation + 1)


def problems(facts: ContinuityFacts) -> list[ContinuityProblem]:
    """Return why the service must not start, in the order in which to fix it; empty when it may."""
    return (
        [*_deployment(facts)]
        or [*_topics(facts)]
        or [*_partitions(facts), *misplaced(facts), *_unfilled(facts)]
    )  # each group only makes sense once the one before it is fixed


def refuse(found: Sequence[ContinuityProblem]) -> None:
    """Raise ContinuityError if there is any problem."""
    if found:
        raise ContinuityError(found)


def _topics(facts: ContinuityFacts) -> Iterator[ContinuityProblem]:
    present = {topic for topic, _ in facts.log}
    if missing := [topic for topic in facts.paired if topic not in present]:
        yield ContinuityProblem("topic_missing", f"Kafka has lost the topic {_and(missing)}.", RECOVER)


def _deployment(facts: ContinuityFacts) -> Iterator[ContinuityProblem]:
    if facts.recorded is None:
        yield ContinuityProblem(
            "not_recorded",
            f"ClickHouse has no record of generation {facts.generation} of the topics.",
            f"run {_with(facts.generation)}",
        )
    elif is_abandoned(facts.recorded):
        yield ContinuityProblem(
            "abandoned",
            f"Generation {facts.generation} of the topics was left: a newer one holds all of it.",
            "unset KAFKA_TOPIC_GENERATION, or name the newer one",
        )
    elif facts.recorded.cluster_id != facts.cluster_id:
        yield ContinuityProblem(
            "cluster_differs",
            f"This Kafka cluster is {facts.cluster_id}, but what ClickHouse holds came from"
            f" {facts.recorded.cluster_id}.",
            "if KAFKA_BOOTSTRAP_SERVERS or CLICKHOUSE_URL names the wrong server, correct it; if Kafka was"
            f" replaced, {RECOVER}",
        )


def _partitions(facts: ContinuityFacts) -> Iterator[ContinuityProblem]:
    counts = {topic: sum(1 for name, _ in facts.log if name == topic) for topic in facts.paired}
    recorded = facts.recorded.partitions if facts.recorded else 0
    if any(count != recorded for count in counts.values()):
        now = _and([f"{count} in {topic}" for topic, count in counts.items()])
        yield ContinuityProblem(
            "partitions_differ",
            f"The partition counts are {now}, where {recorded} were recorded: keys have moved.",
            RECOVER,
        )


def _unfilled(facts: ContinuityFacts) -> Iterator[ContinuityProblem]:
    if not facts.is_filled:
        yield ContinuityProblem(
            "not_filled",
            f"Generation {facts.generation} of the topics lacks the states of the one before: what is merged"
            " into it would replace older feedback in the rows.",
            "run the `afterword recover` or `afterword resize` again that was cut off, or `afterword recover`"
            " if there was none",
        )


def misplaced(facts: ContinuityFacts) -> Iterator[ContinuityProblem]:
    """Yield a problem for each position that does not fit its log; `problems` covers this too."""
    found = [*_misplaced(facts)]
    yield from found
    named = {(one.position.topic, one.position.partition) for one in found if one.position}
    for problem in facts.refused:
        one = problem.position
        if one and (one.topic, one.partition) not in named and not _is_back(facts, one):
            yield problem


def _is_back(facts: ContinuityFacts, position: HeldPosition) -> bool:
    """Return whether the log has again what a position was refused for."""
    log = facts.log.get((position.topic, position.partition))
    return log is not None and position.offset <= log.end and matched(facts, position) is MarkMatch.SAME


def _misplaced(facts: ContinuityFacts) -> Iterator[ContinuityProblem]:
    for position in facts.positions:
        log = facts.log.get((position.topic, position.partition))
        if log is None or position.offset > log.end:
            yield ContinuityProblem(
                BEYOND,
                f"{_place(position)} is beyond the log's end"
                f" ({'there is no such partition' if log is None else log.end}):"
                " the topic was recreated, or its log was cut short.",
                RECOVER,
                position,
            )
        elif position.offset < log.start:
            yield ContinuityProblem(
                "below_the_start",
                f"{_place(position)} is below the log's start ({log.start}):"
                f" {log.start - position.offset} offsets were deleted before they were read.",
                f"run `afterword {facts.service} accept-loss` to go on from the log's start without them",
                position,
            )
        elif matched(facts, position) is MarkMatch.DIFFERS:
            yield ContinuityProblem(
                DIFFERS,
                f"{_place(position)} is of another log: its record {position.mark} is not there any more."
                " The topic was recreated, or its log was cut short and new records have passed the cut.",
                RECOVER,
                position,
            )


def matched(facts: ContinuityFacts, position: HeldPosition) -> MarkMatch:
    """Return whether the log is the one that a position was taken in."""
    place = position.topic, position.partition
    if position.mark is None or (*place, position.mark.offset) not in facts.found:
        return MarkMatch.UNKNOWN
    return match(
        position.mark,
        facts.log[place].start,
        facts.found[*place, position.mark.offset],
        is_compacted=position.topic in facts.compacted,
    )


def to_look_at(
    positions: Iterable[HeldPosition], log: Mapping[tuple[str, int], LogRange]
) -> set[tuple[str, int, int]]:
    """Return topic, partition and offset of the marks that a log may still have a record of."""
    return {
        (position.topic, position.partition, position.mark.offset)
        for position in positions
        if position.mark is not None
        and (held := log.get((position.topic, position.partition)))
        and held.start <= position.mark.offset < held.end
    }


def _place(position: HeldPosition) -> str:
    return f"Offset {position.offset} of {position.topic}/{position.partition}, {position.holder},"


def _with(generation: int) -> str:
    return f"`KAFKA_TOPIC_GENERATION={generation} afterword migrate`" if generation else "`afterword migrate`"


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)
