"""Local copies that people moved: swapped, restored, or from another host or cluster."""

import shutil
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.merger.context import Setup
from services.merger.state_store import CopyOwner, StateStore
from services.pipeline import survey
from services.pipeline.core.continuity import ContinuityError
from tests.support.merger.partitions import R1, Scene, commit, create_topic, delete_topic, ids_in, truth_of
from tests.support.merger.records import a_log, an_event
from tests.support.merger.states import shown

IDS = {number: [*islice(ids_in(number), 5)] for number in (0, 1)}


async def merge_all(
    scene: Scene, setup: Setup, first: int, count: int = 5, numbers: tuple[int, ...] = (0, 1)
) -> None:
    """Merge events with a key each of their own into every request of some partitions, and close these."""
    for number in numbers:
        events = [
            an_event(first + n, request_id=IDS[number][n % 5], data={f"key{first + n}": n})
            for n in range(count)
        ]
        records = await scene.publish(a_log(*events), number)
        partition = await scene.open(setup, number)
        await partition.merge(records)
        await scene.end(partition)


async def check_truth(scene: Scene, number: int) -> None:
    """Compare the rows of a partition with what the oracle makes of its log."""
    truth = truth_of(scene.topology, await scene.events(number))
    rows = await scene.rows(number)
    assert truth.rows == {key: shown(row) for key, row in rows.items() if row is not None}


def strangers() -> float:
    """Return how many copies were set aside in this process."""
    name = "merger_stores_rebuilt_total"
    return REGISTRY.get_sample_value(name, {"cause": "stranger"}) or 0.0


async def test_copies_that_were_swapped_are_rebuilt(scene: Scene) -> None:
    """Their positions happen to be equal, so only the name of the owner tells."""
    setup, before = await scene.setup(), strangers()
    await merge_all(scene, setup, 0)
    one, other = setup.directory.store(0), setup.directory.store(1)
    one.rename(one.with_name("x"))
    other.rename(one)
    one.with_name("x").rename(other)

    await merge_all(scene, setup, 5)

    for number in (0, 1):
        await check_truth(scene, number)
    assert strangers() == before + 2


async def test_a_copy_of_another_cluster_or_of_an_older_release_is_rebuilt(scene: Scene) -> None:
    """It has the same topic and the same partition, and any position; or it does not say what it is of."""
    setup, before = await scene.setup(), strangers()
    await merge_all(scene, setup, 0)
    state = scene.topology.state.name
    for number, owner in ((0, CopyOwner("another-cluster", state, 0)), (1, None)):
        shutil.rmtree(setup.directory.store(number))
        with closing(StateStore(setup.directory.store(number), owner)) as store:
            store.write({b"default/x": (b"{}", 1)}, position=3, now=setup.clock())

    await merge_all(scene, setup, 5)

    for number in (0, 1):
        await check_truth(scene, number)
        aside = setup.directory.store(number).with_name(f"{number}.stranger")
        with closing(StateStore(aside)) as store:
            assert store.get([b"default/x"]) == {b"default/x": b"{}"}
    assert strangers() == before + 2


async def test_an_older_copy_of_the_same_partition_reads_on(scene: Scene, tmp_path: Path) -> None:
    """It may have been on another host meanwhile: it is only behind."""
    setup, before = await scene.setup(), strangers()
    await merge_all(scene, setup, 0, numbers=(0,))
    shutil.copytree(setup.directory.store(0), tmp_path / "older")
    await merge_all(scene, setup, 5, numbers=(0,))
    shutil.rmtree(setup.directory.store(0))
    shutil.copytree(tmp_path / "older", setup.directory.store(0))

    await merge_all(scene, setup, 10, numbers=(0,))

    await check_truth(scene, 0)
    assert strangers() == before


@pytest.mark.parametrize("later", ["at a start", "when it is opened"])
async def test_a_copy_of_a_state_topic_that_was_made_again_is_refused_by_its_mark(
    scene: Scene, later: str
) -> None:
    """The new topic is longer than the copy, so no number tells."""
    setup = await scene.setup()
    await merge_all(scene, setup, 0, numbers=(0,))
    await delete_topic(scene.kafka, scene.topology.state)
    await create_topic(scene.kafka, scene.topology.state, partitions=4)
    other = await scene.setup(2)
    await merge_all(scene, other, 100, count=20, numbers=(0,))
    scene.release()

    with pytest.raises(ContinuityError) as refused:
        await scene.open(setup) if later == "when it is opened" else await scene.setup()

    (problem,) = refused.value.problems
    assert problem.kind == "log_differs"
    assert str(setup.directory.store(0)) in problem.text


async def test_a_log_that_was_made_again_and_grew_is_refused_by_the_mark_of_the_group(scene: Scene) -> None:
    """Kafka forgets positions with the topic; a group that an operator restored has them again."""
    setup = await scene.setup()
    await merge_all(scene, setup, 0, numbers=(0,))
    topology = scene.topology
    held, *_ = await survey.committed(scene.kafka, "tests", topology.merger_group, topology.events.name, 1)
    await delete_topic(scene.kafka, scene.topology.events)
    await create_topic(scene.kafka, scene.topology.events, partitions=4)
    await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(100, 120))))
    scene.release()
    shutil.rmtree(setup.directory.path)
    await commit(scene.kafka, scene.topology, held.offset, str(held.mark))

    with pytest.raises(ContinuityError, match="is of another log"):
        await scene.setup(2)
