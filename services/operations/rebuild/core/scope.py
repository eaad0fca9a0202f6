"""Which rows a rebuild is about, and which offsets of the log.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.identity import event_key

Place = tuple[str, int]
"""A topic and the number of a partition."""


@dataclass(frozen=True)
class Scope:
    """A tenant's rows, those of a time, or both.  The time is from `since` to before `until`."""

    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self == EVERYTHING

    @property
    def is_timed(self) -> bool:
        """Whether it is about a time."""
        return self.since is not None or self.until is not None

    def has(self, key: bytes | None) -> bool:
        """Tell whether a record with that key is of the tenant."""
        return self.tenant is None or (key or b"").startswith(event_key(self.tenant, ""))

    def __str__(self) -> str:
        parts = [
            f"tenant {self.tenant}" if self.tenant else "",
            f"from {self.since.isoformat()}" if self.since else "",
            f"to {self.until.isoformat()}" if self.until else "",
        ]
        return " ".join(part for part in parts if part) or "everything"


EVERYTHING = Scope()


@dataclass(frozen=True)
class Reach:
    """Offsets of one generation of a topic, by partition: from each start to before each end."""

    topic: str
    generation: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def records(self) -> int:
        """How many offsets that are."""
        return sum(end - start for start, end in zip(self.starts, self.ends, strict=True))


def reach(topic: str, generation: int, starts: Mapping[Place, int], ends: Mapping[Place, int]) -> Reach:
    """Return the reach of a topic from what Kafka says of its places."""
    numbers = sorted(number for name, number in ends if name == topic)
    return Reach(
        topic,
        generation,
        tuple(starts[topic, number] for number in numbers),
        tuple(ends[topic, number] for number in numbers),
    )
