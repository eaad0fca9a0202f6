"""Partitions are opened once, beside the stream, and let go wherever their opening is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.merger.assignment import Worker
from tests.support.eventually import eventually
from tests.support.merger.partitions import R1, Scene
from tests.support.merger.records import a_log, an_event


class Assignment(set[int]):
    """The partitions that a group has given a process."""


@pytest.fixture
def assigned() -> Assignment:
    """Return what is assigned: partition 0, unless a test changes it."""
    return Assignment({0})


@pytest.fixture
async def worker(scene: Scene, assigned: Assignment) -> AsyncIterator[Worker]:
    """A worker on the scene's topics."""
    worker = Worker(await scene.setup(), assigned.__contains__)
    yield worker
    await worker.close()


async def test_a_batch_waits_for_the_opening_that_is_under_way(scene: Scene, worker: Worker) -> None:
    """Opening a partition twice would fence the first opening, and end the process."""
    records = await scene.publish(a_log(an_event(0, request_id=R1, data={"a": 1})))
    opening = asyncio.create_task(worker.open(0))
    await eventually(worker.readiness)

    assert worker.readiness() == "reading back the rows of partition 0"
    await worker.merge(0, records)
    assert opening.done()
    assert worker.readiness() is None
    assert await scene.committed() == 1


async def test_a_partition_that_is_taken_away_while_it_opens_is_let_go(
    scene: Scene, worker: Worker, assigned: Assignment
) -> None:
    """Its next owner is never fenced, and a batch that still waits is left to it."""
    records = await scene.publish(a_log(an_event(0, request_id=R1, data={"a": 1})))
    merging = asyncio.create_task(worker.merge(0, records))
    await eventually(worker.readiness)
    assigned.clear()
    await worker.release([0])
    await merging
    owner = await scene.open(await scene.setup(instance=2))
    await worker.merge(0, records)

    assert worker.readiness() is None
    assert await owner.merge(records) == 1


async def test_an_opening_cancelled_from_elsewhere_is_an_error(worker: Worker) -> None:
    """Aiokafka has been seen to do that when a broker dies: the partition would stay closed for ever."""
    opening = asyncio.create_task(worker.open(0))
    await eventually(worker.readiness)
    for task in asyncio.all_tasks():
        if task.get_name() == "open 0":
            task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
