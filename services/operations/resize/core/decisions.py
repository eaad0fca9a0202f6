"""What to do next on the way to a new generation.  Pure: what the servers say in, a step out.

Nothing is remembered between two runs: whatever was cut off, the next run asks again and goes on.

    create, record                 topics that nobody may write events to yet
    copy, check                    the bulk, while traffic flows
    close                          Kafka refuses events; the pause begins
    drain                          merger and sink work off what the log has (near its end before the pause)
    fence                          no earlier merger can write states any more
    copy, check                    the rest
    hand over                      the sink need not store again what it has stored
    open                           the pause ends
    arrive                         every service works on the new generation
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.pipeline.core.continuity import next_generation
from services.pipeline.core.generation_states import Generation, GenerationState, in_use

NEAR_RECORDS = 5_000
"""So few states left to copy and compare do not make the pause longer."""
NEAR_LAG = 20_000
"""So few records before merger and sink are worked off in a moment."""


class Step(StrEnum):
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
class Facts:
    """How far the way is gone.  Counts are of records.

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


def next_step(facts: Facts) -> Step:
    """Return what to do."""
    if facts.is_open:
        return Step.DONE if facts.has_arrived else Step.ARRIVE
    if not facts.exists:
        return Step.CREATE
    if not facts.is_recorded:
        return Step.RECORD
    return _within_the_pause(facts) if facts.is_closed else _ahead(facts)


def _ahead(facts: Facts) -> Step:
    if facts.uncopied > NEAR_RECORDS:
        return Step.COPY
    if facts.unchecked > NEAR_RECORDS:
        return Step.CHECK
    # What is compared while it is being written may differ for a moment: the pause decides.
    return Step.DRAIN if facts.unmerged + facts.unstored > NEAR_LAG else Step.CLOSE


def _within_the_pause(facts: Facts) -> Step:
    if facts.unmerged or facts.unstored:
        return Step.DRAIN
    if not facts.is_fenced:
        return Step.FENCE
    if facts.uncopied:
        return Step.COPY
    if facts.unchecked:
        return Step.CHECK
    if facts.differing:
        return Step.DIFFERS
    return Step.OPEN if facts.is_handed_over else Step.HAND_OVER


@dataclass(frozen=True)
class Plan:
    """From which generation to which.  `to` is `from_` when there is nothing to do."""

    from_: Generation
    to: int
    partitions: int
    abandoned: Sequence[int] = ()
    """Generations that were made and never opened, and are not the one to go on with."""

    @property
    def is_needed(self) -> bool:
        """Whether anything has to move."""
        return self.to != self.from_.number


def plan(found: Sequence[Generation], taken: Iterable[int], partitions: int, *, anew: bool) -> Plan | None:
    """Return the way to so many partitions, None when there are no topics yet.

    A generation that was made and never opened is gone on with if it is the newest and has as many
    partitions, unless all is to begin `anew`.  `taken` are the numbers that ClickHouse knows.
    """
    current = next((one for one in found if one.number == in_use(found)), None)
    if current is None:
        return None
    new = [one for one in found if one.standing is GenerationState.NEW and one.number > current.number]
    if current.standing is GenerationState.OPEN and current.partitions == partitions and not anew:
        return Plan(current, current.number, partitions, tuple(one.number for one in new))
    newest = max([*(one.number for one in found), *taken])
    half_made = next((one for one in new if one.number == newest and one.partitions == partitions), None)
    to = half_made.number if half_made is not None and not anew else next_generation(newest)
    return Plan(current, to, partitions, tuple(one.number for one in new if one.number != to))
