"""How many copies topics get, and what is said of those that they have."""

import pytest

from services.operations.migrate.core.plan import MigrationRefusedError, replication
from services.runtime.kafka.core.topic_copies import Brokers, TopicCopies, descriptions, troubles, wanted

ALL = Brokers(frozenset({1, 2, 3}), frozenset({1, 2, 3}))
ONE_AWAY = Brokers(frozenset({1, 2}), frozenset({1, 2, 3}))


def never(_loss: str) -> bool:
    """Agree to nothing."""
    return False


@pytest.mark.parametrize(("brokers", "copies"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_unset_it_is_three_or_as_many_as_there_are_brokers(brokers: int, copies: int) -> None:
    """What was asked for counts instead, and so does the brokers' own default."""
    found = Brokers(frozenset(range(brokers)), frozenset(range(brokers)))
    assert [wanted(one, found) for one in (None, 2, -1)] == [copies, 2, -1]


def test_fewer_copies_than_wanted_are_made_only_if_it_is_confirmed() -> None:
    """A broker that is away would never get one."""
    assert replication(None, ALL, never) == 3
    assert replication(-1, ONE_AWAY, never) == -1
    assert replication(2, ONE_AWAY, never) == 2
    for wished in (None, 3):
        with pytest.raises(MigrationRefusedError, match=r"3 copies .* 2 brokers are alive; broker 3 is away"):
            replication(wished, ONE_AWAY, never)
        assert replication(wished, ONE_AWAY, lambda _loss: True) == 2
    with pytest.raises(MigrationRefusedError, match="5 copies"):
        replication(5, ALL, never)


def test_what_topics_really_have_is_reported() -> None:
    """Too few copies in sync to write break a promise; the rest is worth knowing of."""
    copies = (TopicCopies("a", 2, 1, 2, 4, 4), TopicCopies("b", 3, 2, 2, 1), TopicCopies("c", 1, 1, 1))
    found = Brokers(ONE_AWAY.live, ONE_AWAY.known, copies)
    assert [*troubles(found)] == [
        ("broker 3 is away", False),
        ("a: 4 partitions have fewer copies in sync than the 2 that writes need", True),
        ("a has 2 copies, and there are 3 brokers", False),
        ("b: 1 partitions have a copy that is not in sync", False),
        ("c has 1 copy, and there are 3 brokers", False),
    ]
    assert next(descriptions(found)) == "a: 2 copies, 1 in sync, 2 needed to write"
    assert [*troubles(ALL)] == []
