"""What `afterword recover` says.  Pure: values in, text out."""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.tables import FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import Topology
from services.operations.recover.core.decisions import Plan

SOUND = (
    "Generation {number} was filled before, and its topics fit what is stored: nothing is to be done."
    " --again fills the next one all the same."
)


def plan_lines(plan: Plan, rows: Mapping[str, int]) -> Iterator[str]:
    """Yield what is going to be done."""
    old, new = Topology(plan.recorded.generation), Topology(plan.to)
    yield (
        f"Generation {plan.to} of the topics ({plan.partitions} partitions):"
        f" {', '.join(one.name for one in new.topics)}."
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


def as_json(plan: Plan, rows: Mapping[str, int]) -> dict[str, Any]:
    """Return the plan for scripts."""
    return {
        "from": plan.recorded.generation,
        "to": plan.to,
        "partitions": plan.partitions,
        "has_old_log": plan.old is not None,
        "events": rows.get(FEEDBACK_EVENTS, 0),
        "rows": rows.get(FEEDBACK_STATE, 0),
    }


def report_lines(plan: Plan, states: int, events: int, letters: int) -> Iterator[str]:
    """Yield what was done, and what is left to do."""
    yield (
        f"Generation {plan.to} is open: {states:,} states, {events:,} events and {letters:,} dead letters"
        " that were not stored yet."
    )
    yield (
        "Services move there by themselves; unset KAFKA_TOPIC_GENERATION where it is set, and restart those."
        " `afterword verify --all` compares everything."
    )
