"""What `afterword resize` says.  Pure: values in, text out."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from schemas.topics import Topology
from services.operations.resize.core.decisions import Facts, Plan, Step

GO_ON = "The same call goes on from here; `afterword resize --abort` goes back."


class Lagging(Protocol):
    """Records that are not dealt with yet."""

    @property
    def merger(self) -> int: ...  # noqa: D102 (a stage's name)
    @property
    def sink(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was done.  `pause_seconds` None: nothing had to be moved; not whole: another run began it."""

    from_: int
    to: int
    partitions: int
    keys: int
    copied: int
    pause_seconds: float | None
    pause_is_whole: bool
    absent: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        found = asdict(self)
        return {"from": found.pop("from_"), **found}


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield what is going to be done."""
    number, topology = plan.from_.number, Topology(plan.to)
    if not plan.is_needed:
        yield f"Generation {number} has {plan.partitions} partitions already: nothing has to be moved."
    else:
        yield (
            f"From generation {number} ({plan.from_.partitions} partitions) to {plan.to} ({plan.partitions}):"
            f" {', '.join(topic.name for topic in topology.topics)}."
        )
        yield "States are copied while traffic flows; then ingest answers 503 overloaded for some seconds."
    for one in plan.abandoned:
        yield f"Generation {one} was made and never opened; nobody reads its topics: they can be deleted."


_DOING = {
    Step.CREATE: "Making the topics",
    Step.RECORD: "Recording them in ClickHouse",
    Step.COPY: "Copying states",
    Step.CHECK: "Comparing states",
    Step.CLOSE: "Pausing: Kafka refuses events from now on",
    Step.DRAIN: "Waiting for merger and sink",
    Step.FENCE: "Fencing the old merger",
    Step.HAND_OVER: "Handing the positions over to the sink",
    Step.OPEN: "Opening the new generation",
    Step.DIFFERS: "Comparing states",
    Step.ARRIVE: "Waiting until every service works there",
}


def doing(step: Step, *, is_paused: bool) -> str:
    """Return what a step does, in words."""
    return f"{_DOING[step]} (paused)" if is_paused else _DOING[step]


def total(step: Step, facts: Facts) -> int | None:
    """Return how much a step has to do."""
    return {Step.COPY: facts.uncopied, Step.CHECK: facts.unchecked}.get(step)


def too_slow(lag: Lagging, seconds: float) -> str:
    """Return why the pause was ended."""
    stage = f"{lag.merger:,} records before the merger, {lag.sink:,} before the sink"
    return (
        f"Not drained after {seconds:g} s ({stage}): events are taken again, on the old generation.\n"
        "Look at `afterword status`, and try again once the lag is small, or allow a longer --max-pause."
    )


def differs(keys: int, plan: Plan) -> str:
    """Return what to do about a copy that is not right."""
    new, old = Topology(plan.to).state.name, Topology(plan.from_.number).state.name
    return (
        f"{keys:,} keys of {new} are not what {old} has: it is not opened, and events are taken again on"
        " the old generation.\n"
        "Run the same call with --anew: it copies everything into the following generation."
    )


def away(server: str, error: Exception) -> str:
    """Return what an outage means for a resize."""
    return f"{server} does not do its work: {error!r}\n{GO_ON}"


def report_lines(report: Report) -> Iterator[str]:
    """Yield what was done, and what is left to do."""
    if report.pause_seconds is not None:
        least = "" if report.pause_is_whole else "at least "
        yield (
            f"Generation {report.to} is open with {report.partitions} partitions; {report.keys:,} keys are"
            f" equal in both. Ingest paused for {least}{report.pause_seconds:.1f} s."
        )
        old = Topology(report.from_)
        yield (
            f"{old.state.name} can be deleted now. Keep {old.events.name} and its dead letters until their"
            " retention is over."
        )
    for group in report.absent:
        yield (
            f"Nobody is in {group} yet: start the service, or unset KAFKA_TOPIC_GENERATION in its environment"
            " and restart it."
        )
