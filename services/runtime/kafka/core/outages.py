"""Decides whether Kafka itself keeps a process from its work.

A process that makes no progress is stalled only if a client that was made just now could do what it does not.
Where a partition has no leader, or too few replicas, or a broker does not answer, no restart helps: that is
an outage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Place = tuple[str, int]
"""A topic and the number of a partition."""

POSITIONS, TRANSACTIONS = "__consumer_offsets", "__transaction_state"
"""Where Kafka keeps what groups have committed, and how far transactions are."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a process reads and writes, the groups that it commits for, and its transactional ids."""

    reads: frozenset[Place] = frozenset()
    writes: frozenset[Place] = frozenset()
    groups: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()

    @property
    def topics(self) -> frozenset[str]:
        """Every topic that is needed, Kafka's own included."""
        own = {POSITIONS} if self.groups else set()
        own |= {TRANSACTIONS} if self.transactions else set()
        return frozenset(own | {topic for topic, _ in self.reads | self.writes})


@dataclass(frozen=True)
class Replicas:
    """A partition's broker in charge, -1 for none, and those that have a copy, in sync or not."""

    leader: int
    in_sync: tuple[int, ...]
    all: tuple[int, ...]


@dataclass(frozen=True)
class Cluster:
    """What Kafka is like: its partitions, each topic's min.insync.replicas, and the brokers that answer."""

    partitions: Mapping[Place, Replicas]
    min_in_sync: Mapping[str, int]
    answering: frozenset[int]


def outage(needs: Needs, found: Cluster) -> str | None:
    """Return why what is needed cannot be read or written at the moment, by any client; None if it can."""
    writes = needs.writes | {
        *_coordinated(POSITIONS, needs.groups, found),
        *_coordinated(TRANSACTIONS, needs.transactions, found),
    }
    for place in sorted(needs.reads | writes):
        why = _why(place, found, is_written=place in writes)
        if why is not None:
            return f"{place[0]}/{place[1]} {why}"
    return None


def brokers(needs: Needs, partitions: Mapping[Place, Replicas]) -> set[int]:
    """Return the brokers that have to answer: leaders, and copies in sync, of every topic that is needed."""
    there = [one for (topic, _), one in partitions.items() if topic in needs.topics]
    return {number for one in there for number in (one.leader, *one.in_sync) if number >= 0}


def _why(place: Place, found: Cluster, *, is_written: bool) -> str | None:
    one = found.partitions.get(place)
    if one is None:
        return "does not exist"
    if one.leader < 0:
        return "has no leader"
    if one.leader not in found.answering:
        return f"is led by broker {one.leader}, which does not answer"
    return _why_not_written(one, found.min_in_sync.get(place[0], 1), found.answering) if is_written else None


def _why_not_written(one: Replicas, least: int, answering: frozenset[int]) -> str | None:
    least = min(least, len(one.all))  # Kafka asks for no more than there are
    if len(one.in_sync) < least:
        return f"has {len(one.in_sync)} replicas in sync, and takes nothing below {least}"
    silent = sorted({*one.in_sync} - answering)
    # A write waits for all of them, until a controller takes out those that are gone.
    return f"waits for broker {silent[0]}, which does not answer" if silent else None


def _coordinated(topic: str, names: Iterable[str], found: Cluster) -> list[Place]:
    """Return the partitions in which Kafka keeps what these names have; none before it has made the topic."""
    count = sum(1 for name, _ in found.partitions if name == topic)
    return [(topic, abs(_hash(name)) % count) for name in names] if count else []


def _hash(name: str) -> int:
    """Return Java's hash of an ASCII text, by which Kafka chooses; 0 for the one that has no absolute."""
    number = 0
    for character in name:
        number = (31 * number + ord(character)) & 0xFFFFFFFF
    return 0 if number == 1 << 31 else number - (1 << 32) * (number >> 31)
