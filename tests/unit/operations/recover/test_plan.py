"""From where to where a recovery goes."""

import pytest

from services.operations.exits import CommandError
from services.operations.recover.core.plan import plan
from services.pipeline.core.continuity import Recorded, abandoned
from services.pipeline.core.generation_states import Generation, GenerationState

OPEN, NEW, CLOSED = GenerationState.OPEN, GenerationState.NEW, GenerationState.CLOSED


def test_a_wiped_kafka_gets_the_next_generation_with_as_many_partitions() -> None:
    """Nothing of the old log is here."""
    found = plan([], [Recorded(0, "kraft-1", 6)], "kraft-2", None)
    assert (found.old, found.to, found.partitions) == (None, 2, 6)


def test_one_that_was_begun_is_gone_on_with() -> None:
    """Whether it was recorded or not, and also after the old log was left."""
    old, begun = Generation(0, CLOSED, 4), Generation(2, NEW, 8)
    records = [Recorded(0, "kraft-1", 4)]
    for recorded in (records, [abandoned(records[0]), Recorded(2, "kraft-1", 8)]):
        found = plan([old, begun], recorded, "kraft-1", 4)
        assert (found.old, found.to, found.partitions) == (old, 2, 8)


def test_a_generation_that_was_recovered_may_be_lost_again() -> None:
    """The next one follows the newest that anybody knows."""
    recorded = [abandoned(Recorded(0, "kraft-1", 4)), Recorded(2, "kraft-2", 4)]
    assert plan([Generation(2, OPEN, 4)], recorded, "kraft-2", None).to == 3


def test_topics_of_another_cluster_are_taken_only_if_asked() -> None:
    """They may be another installation's, and would be closed."""
    found, recorded = [Generation(0, OPEN, 4)], [Recorded(0, "kraft-1", 4)]
    with pytest.raises(CommandError, match=r"(?s)kraft-2.*kraft-1.*--adopt"):
        plan(found, recorded, "kraft-2", None)
    assert plan(found, recorded, "kraft-2", None, adopt=True).old == found[0]


def test_a_generation_that_the_environment_names_must_be_the_next() -> None:
    """Any other would leave numbers out, or go back."""
    recorded = [Recorded(0, "kraft-1", 4)]
    assert plan([], recorded, "kraft-2", None, given=2).to == 2
    with pytest.raises(CommandError, match="is 7, but"):
        plan([], recorded, "kraft-2", None, given=7)
    with pytest.raises(CommandError, match="afterword migrate"):
        plan([], [], "kraft-1", None)
