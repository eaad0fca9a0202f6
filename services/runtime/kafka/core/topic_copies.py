"""How many replicas Kafka really keeps of topics, and how many of those are in sync.

The replication factor of a topic does not show that: replicas may be on a broker that is down, and Kafka's
own topics, which hold the groups' positions and the transactions, get as many as its brokers' settings have.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

INTERNAL = ("__consumer_offsets", "__transaction_state")
"""Kafka's own topics that a promise rests on; they appear with the first group and transaction."""
MIN_IN_SYNC = "min.insync.replicas"
MOST_COPIES = 3


@dataclass(frozen=True)
class TopicCopies:
    """Of one topic: copies and copies in sync of its worst partition, and how many it takes to write.

    `lagging` partitions have a copy that is not in sync, `refusing` ones too few to be written to.
    """

    topic: str
    replicas: int
    in_sync: int
    min_in_sync: int
    lagging: int = 0
    refusing: int = 0


@dataclass(frozen=True)
class Brokers:
    """The brokers that are alive, those that are known of besides, and the copies of topics that exist."""

    live: frozenset[int]
    known: frozenset[int]
    copies: tuple[TopicCopies, ...] = ()

    @property
    def away(self) -> frozenset[int]:
        """Brokers that should have copies and are not alive."""
        return self.known - self.live


def wanted(wished: int | None, found: Brokers) -> int:
    """Return how many copies a new topic is to have; -1 is the broker's default."""
    return min(MOST_COPIES, len(found.known)) if wished is None else wished


def shortage(copies: int, found: Brokers) -> str:
    """Return why a topic cannot be made with `copies` replicas now; empty if it can."""
    if copies <= len(found.live):
        return ""
    away = f"; {_brokers(found.away)} away" if found.away else ""
    return f"{copies} copies of each topic are wanted, and {len(found.live)} brokers are alive{away}"


def troubles(found: Brokers) -> Iterator[tuple[str, bool]]:
    """Yield what is not as it should be, and whether a promise does not hold for that."""
    if found.away:
        yield f"{_brokers(found.away)} away", False
    enough = min(MOST_COPIES, len(found.known))
    for copy in found.copies:
        if copy.refusing:
            few = f"fewer copies in sync than the {copy.min_in_sync} that writes need"
            yield f"{copy.topic}: {copy.refusing} partitions have {few}", True
        elif copy.lagging:
            yield f"{copy.topic}: {copy.lagging} partitions have a copy that is not in sync", False
        if copy.replicas < enough:
            yield (
                f"{copy.topic} has {_copies_of(copy.replicas)}, and there are {len(found.known)} brokers",
                False,
            )


def _brokers(several: Iterable[int]) -> str:
    numbers = sorted(several)
    is_one = len(numbers) == 1
    return f"broker{'' if is_one else 's'} {', '.join(map(str, numbers))} {'is' if is_one else 'are'}"


def _copies_of(count: int) -> str:
    return f"{count} cop{'y' if count == 1 else 'ies'}"


def descriptions(found: Brokers) -> Iterator[str]:
    """Yield what each topic really has."""
    for copy in found.copies:
        yield (
            f"{copy.topic}: {_copies_of(copy.replicas)}, {copy.in_sync} in sync,"
            f" {copy.min_in_sync} needed to write"
        )
