"""From which generation to which a recovery goes.  Pure: what both servers have in, a plan out."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.operations.exits import CommandError
from services.pipeline.core.continuity import Recorded, is_abandoned, next_generation
from services.pipeline.core.generation_states import Generation, GenerationState


@dataclass(frozen=True)
class Plan:
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
) -> Plan:
    """Return the way to the next generation; one that was begun and never opened is gone on with.

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
    return Plan(cluster, last, old, to, count or partitions or last.partitions)
