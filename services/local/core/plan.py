"""The parts of the local stack, what each needs before it starts, and the order in which they stop."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

KAFKA, WAREHOUSE, MIGRATE = "kafka", "warehouse", "migrate"
INGEST, MERGER, SINK, QUERY = "ingest", "merger", "sink", "query"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the stack.  `needs`: parts that must be ready or done before; `once`: it ends by itself."""

    name: str
    needs: tuple[str, ...] = ()
    once: bool = False

    @property
    def kind(self) -> str:
        """The service of an instance: `merger` for `merger-2`."""
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
"""The number of partitions of local topics: a fifth merger or sink would have none."""

_STOP_ORDER = (MIGRATE, INGEST, MERGER, SINK, QUERY, WAREHOUSE, KAFKA)
"""The order of the data flow, so that each part can flush what it holds; the servers are last."""

USER_FACING = frozenset({INGEST, QUERY})
"""Parts with an address for users; the ports of the others are for health and metrics."""

PORT_STEP = 10
"""The distance between the ports of two instances of a service."""

GRACE_SECONDS = 10.0
"""The time between SIGTERM and SIGKILL of a part.  No part loses data by SIGKILL."""

STOP_SECONDS = 18.0
"""The time in which all parts together stop."""

_RESERVED_SECONDS = 1.0


def parts(instances: Mapping[str, int]) -> tuple[Part, ...]:
    """Return all parts in the order of display; `instances`: the number of a service, default 1."""
    services = (
        replace(part, name=instance_name(part.name, number))
        for part in _SERVICES
        for number in range(1, instances.get(part.name, 1) + 1)
    )
    return (*_SERVERS, _MIGRATE, *services)


def instance_name(service: str, number: int) -> str:
    """Return the name of an instance: `merger`, then `merger-2`."""
    return service if number == 1 else f"{service}-{number}"


def stop_order(names: Iterable[str]) -> list[str]:
    """Return the parts in the order in which they stop, instances of a service one after another."""
    return sorted(names, key=lambda name: _STOP_ORDER.index(Part(name).kind))


def grace(left: float, after: int) -> float:
    """Return the seconds that a part may take to stop, with `left` remaining and `after` parts to follow.

    A part that takes all of its time leaves enough for an orderly stop of each of the others.
    """
    return max(_RESERVED_SECONDS, min(GRACE_SECONDS, left - after * _RESERVED_SECONDS))
