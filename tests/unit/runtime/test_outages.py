"""What is an outage: no client could read or write what is needed."""

import pytest

from services.runtime.kafka.core.outages import (
    POSITIONS,
    TRANSACTIONS,
    Cluster,
    Needs,
    Replicas,
    brokers,
    outage,
)

EVENTS, STATE = ("events", 0), ("state", 0)
WHOLE = Replicas(1, (1, 2, 3), (1, 2, 3))


def cluster(changes: dict[str, Replicas] | None = None, answering: tuple[int, ...] = (1, 2, 3)) -> Cluster:
    """Return three brokers with a partition of each topic, two replicas in sync at least."""
    topics = {"events": WHOLE, "state": WHOLE, POSITIONS: WHOLE, TRANSACTIONS: WHOLE, **(changes or {})}
    places = {(topic, 0): one for topic, one in topics.items()}
    return Cluster(places, dict.fromkeys(topics, 2), frozenset(answering))


NEEDS = Needs(
    reads=frozenset({EVENTS}), writes=frozenset({STATE}), groups=("merger",), transactions=("merger-0",)
)


def test_where_all_is_well_there_is_no_outage() -> None:
    """Nor where one replica is out of sync, and gone."""
    assert outage(NEEDS, cluster()) is None
    one_less = Replicas(1, (1, 2), (1, 2, 3))
    topics = ("events", "state", POSITIONS, TRANSACTIONS)
    assert outage(NEEDS, cluster(dict.fromkeys(topics, one_less), (1, 2))) is None


@pytest.mark.parametrize("topic", ["events", "state", POSITIONS, TRANSACTIONS])
def test_a_leader_is_needed_of_whatever_is_read_or_written(topic: str) -> None:
    """Also of where Kafka keeps positions and transactions."""
    assert outage(NEEDS, cluster({topic: Replicas(-1, (2,), (1, 2, 3))})) == f"{topic}/0 has no leader"
    gone = Replicas(4, (1, 2), (1, 2, 4))
    assert "broker 4, which does not answer" in (outage(NEEDS, cluster({topic: gone})) or "")


@pytest.mark.parametrize("topic", ["state", POSITIONS, TRANSACTIONS])
def test_replicas_are_needed_of_what_is_written(topic: str) -> None:
    """Too few in sync, or one that counts as in sync and is gone: a write would wait for it."""
    few = Replicas(1, (1,), (1, 2, 3))
    assert "1 replicas in sync, and takes nothing below 2" in (outage(NEEDS, cluster({topic: few})) or "")
    gone = Replicas(1, (1, 2, 4), (1, 2, 4))
    assert "waits for broker 4" in (outage(NEEDS, cluster({topic: gone})) or "")


def test_what_is_read_alone_needs_its_leader_alone() -> None:
    """A reader does not wait for replicas."""
    assert outage(NEEDS, cluster({"events": Replicas(1, (1,), (1, 2, 3))})) is None


def test_a_topic_with_fewer_replicas_than_must_be_in_sync_takes_records() -> None:
    """Kafka asks for as many as there are."""
    assert outage(NEEDS, cluster({"state": Replicas(1, (1,), (1,))})) is None


def test_positions_and_transactions_are_in_the_partition_that_kafka_chooses() -> None:
    """By Java's hash of the name: another partition may be away."""
    lost = Replicas(-1, (), (1,))
    places = {(POSITIONS, number): WHOLE for number in range(50)}
    for name, number in (("hello", 22), ("hello world", 2), ("polygenelubricants", 0)):
        found = Cluster({**places, (POSITIONS, number): lost}, {}, frozenset({1, 2, 3}))
        assert outage(Needs(groups=(name,)), found) == f"{POSITIONS}/{number} has no leader"


def test_a_kafka_that_has_no_positions_yet_has_no_outage() -> None:
    """The first group makes the topic."""
    assert outage(Needs(groups=("merger",)), Cluster({}, {}, frozenset())) is None


def test_a_topic_that_does_not_exist_is_an_outage() -> None:
    """No restart makes it."""
    assert outage(Needs(writes=frozenset({STATE})), Cluster({}, {}, frozenset())) == "state/0 does not exist"


def test_who_must_answer_is_who_leads_or_is_in_sync() -> None:
    """Of the topics that are needed."""
    partitions = {EVENTS: Replicas(-1, (2,), (1, 2)), ("other", 0): Replicas(5, (5,), (5,))}
    assert brokers(NEEDS, partitions) == {2}
