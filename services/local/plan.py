"""Which parts the local stack has, what each needs before it starts, and in which order they stop.  Pure."""

from dataclasses import dataclass

KAFKA, WAREHOUSE, MIGRATE = "kafka", "warehouse", "migrate"
INGEST, MERGER, SINK, QUERY = "ingest", "merger", "sink", "query"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the stack.  `needs` must be ready (or done) before it starts; `once`: it ends by itself."""

    name: str
    needs: tuple[str, ...] = ()
    once: bool = False


_SERVERS = (Part(KAFKA), Part(WAREHOUSE))
_MIGRATE = Part(MIGRATE, needs=(KAFKA, WAREHOUSE), once=True)
_SERVICES = (
    Part(INGEST, needs=(KAFKA, MIGRATE)),
    Part(MERGER, needs=(KAFKA, MIGRATE)),
    Part(SINK, needs=(KAFKA, WAREHOUSE, MIGRATE)),
    Part(QUERY, needs=(KAFKA, WAREHOUSE, MIGRATE)),
)

PARTS = (*_SERVERS, _MIGRATE, *_SERVICES)
"""All parts, in the order in which they are shown."""

STOP_ORDER = (MIGRATE, INGEST, MERGER, SINK, QUERY, WAREHOUSE, KAFKA)
"""The order of the flow, so that each part can still hand on what it holds; the servers come last."""

FOR_PEOPLE = frozenset({INGEST, QUERY})
"""Parts whose address people use: the others' ports are for health and metrics."""

GRACE_SECONDS = 10.0
"""What a part has between being asked to stop and being killed.  Everything here survives a kill."""

STOP_SECONDS = 18.0
"""What all parts together have."""

_RESERVED_SECONDS = 1.0


def grace(left: float, after: int) -> float:
    """Return how many seconds a part may take to stop when `left` remain and `after` parts come after it.

    A part that takes its whole time leaves each of the others enough for an orderly stop.
    """
    return max(_RESERVED_SECONDS, min(GRACE_SECONDS, left - after * _RESERVED_SECONDS))
