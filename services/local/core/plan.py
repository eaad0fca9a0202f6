"""Which parts the local stack has, what each needs before it starts, and in which order they stop.  Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

KAFKA, WAREHOUSE, MIGRATE = "kafka", "warehouse", "migrate"
INGEST, MERGER, SINK, QUERY = "ingest", "merger", "sink", "query"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the stack.  `needs` must be ready (or done) before it starts; `once`: it ends by itself."""

    name: str
    needs: tuple[str, ...] = ()
    once: bool = False

    @property
    def kind(self) -> str:
        """What it is one of: `merger` for `merger-2`."""
        return self.name.partition("-")[0]


_SERVERS = (Part(KAFKA), Part(WAREHOUSE))
_MIGRATE = Part(MIGRATE, needs=(KAFKA, WAREHOUSE), once=True)
_SERVICES = (
    Part(INGEST, needs=(KAFKA, MIGRATE)),
    Part(MERGER, needs=(KAFKA, MIGRATE)),
    Part(SINK, needs=(KAFKA, WAREHOUSE, MIGRATE)),
    Part(QUERY, needs=(KAFKA, WAREHOUSE, MIGRATE)),
)

SERVICES = tuple(part.name for part in _SERVICES)
MOST_INSTANCES = 4
"""As many as the local topics have partitions: a fifth merger or sink would have nothing to do."""

_STOP_ORDER = (MIGRATE, INGEST, MERGER, SINK, QUERY, WAREHOUSE, KAFKA)
"""The order of the flow, so that each part can still hand on what it holds; the servers come last."""

FOR_PEOPLE = frozenset({INGEST, QUERY})
"""Parts whose address people use: the others' ports are for health and metrics."""

PORT_STEP = 10
"""How far the port of each further instance lies above that of the one before."""

GRACE_SECONDS = 10.0
"""What a part has between being asked to stop and being killed.  Everything here survives a kill."""

STOP_SECONDS = 18.0
"""What all parts together have."""

_RESERVED_SECONDS = 1.0


def parts(instances: Mapping[str, int]) -> tuple[Part, ...]:
    """Return all parts in the order in which they are shown; `instances`: how many of a service, else one."""
    services = (
        replace(part, name=instance_name(part.name, number))
        for part in _SERVICES
        for number in range(1, instances.get(part.name, 1) + 1)
    )
    return (*_SERVERS, _MIGRATE, *services)


def instance_name(service: str, number: int) -> str:
    """Return the name of one of several: `merger`, then `merger-2`."""
    return service if number == 1 else f"{service}-{number}"


def stop_order(names: Iterable[str]) -> list[str]:
    """Return the parts in the order in which they stop: those of one kind after each other."""
    return sorted(names, key=lambda name: _STOP_ORDER.index(Part(name).kind))


def grace(left: float, after: int) -> float:
    """Return how many seconds a part may take to stop when `left` remain and `after` parts come after it.

    A part that takes its whole time leaves each of the others enough for an orderly stop.
    """
    return max(_RESERVED_SECONDS, min(GRACE_SECONDS, left - after * _RESERVED_SECONDS))
