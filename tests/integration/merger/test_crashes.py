"""An event that ends the process again and again: it is found, given up, and the others go on."""

import pytest
from aiokafka import AIOKafkaProducer
from msgspec import MsgspecError

from schemas.deadletters import Reason
from services.merger.setup import Setup
from services.runtime.kafka import client_options
from tests.integration.merger.test_partition import committed_is
from tests.support.eventually import eventually
from tests.support.merger import R1, R2, R3, Scene
from tests.support.merging import a_log, an_event


async def ends(scene: Scene, setup: Setup, records: list[object]) -> bool:
    """Let a process merge, and tell whether that ended it."""
    partition = await scene.open(setup)
    try:
        await partition.merge(records)
    except MsgspecError:
        return True
    else:
        return False
    finally:
        await scene.end(partition)


@pytest.fixture
async def unreadable(scene: Scene) -> None:
    """A row that nobody can read, written by somebody who should not have: whatever meets it crashes."""
    producer = AIOKafkaProducer(**client_options(scene.kafka, "tests"))
    await producer.start()
    await producer.send_and_wait(scene.topology.state.name, b"{", b"default/" + R2.encode(), partition=0)
    await producer.stop()


@pytest.mark.usefixtures("unreadable")
async def test_the_culprit_is_found_and_given_up(scene: Scene) -> None:
    """Three ends of the batch, one of the culprit alone; then it is a dead letter, and all else is merged."""
    names = [R1, R3, R2, R1]
    events = [an_event(number, request_id=name, data={"n": number}) for number, name in enumerate(names)]
    records = await scene.publish(a_log(*events))
    setup = await scene.setup()

    assert [await ends(scene, setup, records) for _ in range(5)] == [True, True, True, True, False]
    (letter,) = await scene.letters()
    assert (letter.reason, letter.original_offset) == (Reason.CRASHED, 2)
    await eventually(lambda: committed_is(scene, 4))
    rows = await scene.rows()
    assert b'"data":{"n":3}' in (rows[b"default/" + R1.encode()] or b"")
    assert b'"data":{"n":1}' in (rows[b"default/" + R3.encode()] or b"")


@pytest.mark.usefixtures("unreadable")
async def test_an_end_at_any_other_moment_is_not_held_against_the_events(scene: Scene) -> None:
    """Only what happens while events are folded counts."""
    records = await scene.publish(a_log(an_event(0, request_id=R1), an_event(1, request_id=R2)))
    setup = await scene.setup()

    assert [await ends(scene, setup, records) for _ in range(2)] == [True, True]
    partition = await scene.open(setup)
    await partition.merge(records[:1])
    await scene.end(partition)
    assert [await ends(scene, setup, records) for _ in range(3)] == [True, True, True]
    assert await scene.letters() == []
