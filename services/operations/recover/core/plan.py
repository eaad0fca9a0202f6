"""From which generation to which a recovery goes, and what the command prints about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.tables import FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import Topology
from services.operations.exits import CommandError
from services.pipeline.core.continuity import Recorded, is_abandoned, next_generation
from services.pipeline.core.generation_states import Generation, GenerationState


@dataclass(frozen=True)
class RecoverPlan:
    """`old` is the newest generation that was in use, as this Kafka has it, None where its log is gone."""

    cluster: str
    recorded: Recorded
    old: Generation | None
    to: int
    partitions: int

    @property
    def is_done(self) -> bool:
        """Whether nothing is to be done."""
        return self.to == self.recorded.generation


def plan(
    found: Sequence[Generation],
    recorded: Sequence[Recorded],
    cluster: str,
    partitions: int | None,
    *,
    given: int | None = None,
    adopt: bool = False,
) -> RecoverPlan:
    """Return the plan for the next generation; one that was created and never opened is continued.

    `given` is the generation that the environment names, which may only be the next one.  `adopt` takes
    topics of another cluster than the recorded one for the same log.
    """
    new = {one.number for one in found if one.standing is GenerationState.NEW}
    used = [one for one in recorded if one.generation not in new]
    if not used:
        raise CommandError(
            "ClickHouse knows of no generation of topics: `afterword migrate` makes the first."
        )
    last = max(used, key=lambda one: one.generation)
    old = next((one for one in found if one.number == last.generation), None)
    if old is not None and last.cluster_id != cluster and not is_abandoned(last) and not adopt:
        raise CommandError(
            f"This Kafka ({cluster}) has topics of generation {last.generation}, but what ClickHouse holds"
            f" came from another cluster ({last.cluster_id}).  If KAFKA_BOOTSTRAP_SERVERS or CLICKHOUSE_URL"
            " names the wrong server, correct it.  If these topics are copies of the lost ones, or were"
            " written since, --adopt takes their events too."
        )
    newest = max([*(one.number for one in found), *(one.generation for one in recorded)])
    begun = newest in new and newest > last.generation
    to = newest if begun else next_generation(newest)
    if given is not None and given not in (to, last.generation):
        raise CommandError(
            f"KAFKA_TOPIC_GENERATION is {given}, but the generation to fill is {to}: unset it, for this"
            " command and for every service."
        )
    count = next((one.partitions for one in found if begun and one.number == to), None)
    return RecoverPlan(cluster, last, old, to, count or partitions or last.partitions)


SOUND = (
    "Generation {number} was filled before, and its topics fit what is stored: nothing is to be done."
    " --again fills the next one all the same."
)


def plan_lines(plan: RecoverPlan, rows: Mapping[str, int]) -> Iterator[str]:
    """Yield what is going to be done."""
    old, new = Topology(plan.recorded.generation), Topology(plan.to)
    yield (
        f"Generation {plan.to} of the topics ({plan.partitions} partitions):"
        f" {', '.join(topic.name for topic in new.topics)}."
    )
    yield (
        f"{new.state.name} is filled from {rows.get(FEEDBACK_EVENTS, 0):,} rows of {FEEDBACK_EVENTS},"
        f" {rows.get(FEEDBACK_STATE, 0):,} of {FEEDBACK_STATE}"
        + (f", and from {old.state.name}." if plan.old is not None else ".")
    )
    if plan.old is None:
        yield f"This Kafka ({plan.cluster}) has no {old.events.name}: what only that log had is lost."
    else:
        yield (
            f"Ingest answers 503 overloaded until it is done. Events that {old.events.name} has and"
            f" ClickHouse does not are carried over; the topics of generation {plan.recorded.generation} stay"
            " as they are."
        )
    yield "Nothing is deleted."


def plan_as_json(plan: RecoverPlan, rows: Mapping[str, int]) -> dict[str, Any]:
    """Return the plan for scripts."""
    return {
        "from": plan.recorded.generation,
        "to": plan.to,
        "partitions": plan.partitions,
        "has_old_log": plan.old is not None,
        "events": rows.get(FEEDBACK_EVENTS, 0),
        "rows": rows.get(FEEDBACK_STATE, 0),
    }


def report_lines(plan: RecoverPlan, states: int, events: int, letters: int) -> Iterator[str]:
    """Yield what was done, and what remains to do."""
    yield (
        f"Generation {plan.to} is open: {states:,} states, {events:,} events and {letters:,} dead letters"
        " that were not stored yet."
    )
    yield (
        "Services move there by themselves; unset KAFKA_TOPIC_GENERATION where it is set, and restart those."
        " `afterword verify --all` compares everything."
    )
