"""From which generation to which a resize goes, what to do next, and what the command prints.

Nothing is remembered between two runs: after an interruption the next run asks the servers again and resumes.

    create, record                 topics that take no events yet
    copy, check                    the bulk, while traffic flows
    close                          Kafka refuses events; the pause begins
    drain                          merger and sink process the rest of the log (near its end before the pause)
    fence                          no earlier merger can write states any more
    copy, check                    the rest
    hand over                      the sink need not store again what it has stored
    open                           the pause ends
    arrive                         every service works on the new generation
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from schemas.topics import Topology
from services.pipeline.core.continuity import next_generation
from services.pipeline.core.generation_states import Generation, GenerationState, in_use

NEAR_RECORDS = 5_000
"""So few states left to copy and compare do not make the pause longer."""
NEAR_LAG = 20_000
"""So few records before merger and sink are worked off in a moment."""


class ResizeStep(StrEnum):
    """What to do, in the words of the report."""

    CREATE = "create"
    RECORD = "record"
    COPY = "copy"
    CHECK = "check"
    CLOSE = "close"
    DRAIN = "drain"
    FENCE = "fence"
    HAND_OVER = "hand over"
    DIFFERS = "differs"
    OPEN = "open"
    ARRIVE = "arrive"
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class ResizeFacts:
    """How far the migration is.  Counts are of records.

    `is_closed`: the old generation takes no events.  `is_open`: the new one does.  `uncopied` states of the
    old generation; `unchecked` states of both, compared by this run; `differing` keys among the compared.
    `unmerged` and `unstored` records of the old generation.  `is_fenced`: this run has fenced the old
    merger since the generation was closed.
    """

    exists: bool = False
    is_recorded: bool = False
    is_closed: bool = False
    is_open: bool = False
    uncopied: int = 0
    unchecked: int = 0
    differing: int = 0
    unmerged: int = 0
    unstored: int = 0
    is_fenced: bool = False
    is_handed_over: bool = False
    has_arrived: bool = False


def next_step(facts: ResizeFacts) -> ResizeStep:
    """Return what to do."""
    if facts.is_open:
        return ResizeStep.DONE if facts.has_arrived else ResizeStep.ARRIVE
    if not facts.exists:
        return ResizeStep.CREATE
    if not facts.is_recorded:
        return ResizeStep.RECORD
    return _within_the_pause(facts) if facts.is_closed else _ahead(facts)


def _ahead(facts: ResizeFacts) -> ResizeStep:
    if facts.uncopied > NEAR_RECORDS:
        return ResizeStep.COPY
    if facts.unchecked > NEAR_RECORDS:
        return ResizeStep.CHECK
    # What is compared while it is being written may differ for a moment: the pause decides.
    return ResizeStep.DRAIN if facts.unmerged + facts.unstored > NEAR_LAG else ResizeStep.CLOSE


def _within_the_pause(facts: ResizeFacts) -> ResizeStep:
    if facts.unmerged or facts.unstored:
        return ResizeStep.DRAIN
    if not facts.is_fenced:
        return ResizeStep.FENCE
    if facts.uncopied:
        return ResizeStep.COPY
    if facts.unchecked:
        return ResizeStep.CHECK
    if facts.differing:
        return ResizeStep.DIFFERS
    return ResizeStep.OPEN if facts.is_handed_over else ResizeStep.HAND_OVER


@dataclass(frozen=True)
class ResizePlan:
    """From which generation to which.  `to` is `from_` when there is nothing to do."""

    from_: Generation
    to: int
    partitions: int
    abandoned: Sequence[int] = ()
    """Generations that were made and never opened, and are not the one to continue."""

    @property
    def is_needed(self) -> bool:
        """Whether anything has to move."""
        return self.to != self.from_.number


def plan(
    found: Sequence[Generation], taken: Iterable[int], partitions: int, *, anew: bool
) -> ResizePlan | None:
    """Return the plan for a number of partitions, None when there are no topics yet.

    A generation that was made and never opened is continued if it is the newest and has as many
    partitions, unless all is to begin `anew`.  `taken` are the numbers that ClickHouse knows.
    """
    current = next((one for one in found if one.number == in_use(found)), None)
    if current is None:
        return None
    new = [one for one in found if one.standing is GenerationState.NEW and one.number > current.number]
    if current.standing is GenerationState.OPEN and current.partitions == partitions and not anew:
        return ResizePlan(current, current.number, partitions, tuple(one.number for one in new))
    newest = max([*(one.number for one in found), *taken])
    half_made = next((one for one in new if one.number == newest and one.partitions == partitions), None)
    to = half_made.number if half_made is not None and not anew else next_generation(newest)
    return ResizePlan(current, to, partitions, tuple(one.number for one in new if one.number != to))


GO_ON = "The same call resumes here; `afterword resize --abort` goes back."


class Lagging(Protocol):
    """Records that are not dealt with yet."""

    @property
    def merger(self) -> int: ...  # noqa: D102 (a stage's name)
    @property
    def sink(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class ResizeReport:
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


def plan_lines(plan: ResizePlan) -> Iterator[str]:
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
        yield f"Generation {one} was made and never opened; no service reads its topics: they can be deleted."


_DOING = {
    ResizeStep.CREATE: "Making the topics",
    ResizeStep.RECORD: "Recording them in ClickHouse",
    ResizeStep.COPY: "Copying states",
    ResizeStep.CHECK: "Comparing states",
    ResizeStep.CLOSE: "Pausing: Kafka refuses events from now on",
    ResizeStep.DRAIN: "Waiting for merger and sink",
    ResizeStep.FENCE: "Fencing the old merger",
    ResizeStep.HAND_OVER: "Handing the positions over to the sink",
    ResizeStep.OPEN: "Opening the new generation",
    ResizeStep.DIFFERS: "Comparing states",
    ResizeStep.ARRIVE: "Waiting until every service works there",
}


def doing(step: ResizeStep, *, is_paused: bool) -> str:
    """Return what a step does, in words."""
    return f"{_DOING[step]} (paused)" if is_paused else _DOING[step]


def total(step: ResizeStep, facts: ResizeFacts) -> int | None:
    """Return how much a step has to do."""
    return {ResizeStep.COPY: facts.uncopied, ResizeStep.CHECK: facts.unchecked}.get(step)


def too_slow(lag: Lagging, seconds: float) -> str:
    """Return why the pause was ended."""
    stage = f"{lag.merger:,} records before the merger, {lag.sink:,} before the sink"
    return (
        f"Not drained after {seconds:g} s ({stage}): events are taken again, on the old generation.\n"
        "Look at `afterword status`, and try again once the lag is small, or allow a longer --max-pause."
    )


def differs(keys: int, plan: ResizePlan) -> str:
    """Return what to do about a copy that is not right."""
    new, old = Topology(plan.to).state.name, Topology(plan.from_.number).state.name
    return (
        f"{keys:,} keys of {new} are not what {old} has: it is not opened, and events are taken again on"
        " the old generation.\n"
        "Run the same call with --anew: it copies everything into the following generation."
    )


def unreachable(server: str, error: Exception) -> str:
    """Return what an outage means for a resize."""
    return f"{server} does not do its work: {error!r}\n{GO_ON}"


def report_lines(report: ResizeReport) -> Iterator[str]:
    """Yield what was done, and what remains to do."""
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
            f"No consumer is in {group} yet: start the service, or unset KAFKA_TOPIC_GENERATION in its"
            " environment and restart it."
        )
