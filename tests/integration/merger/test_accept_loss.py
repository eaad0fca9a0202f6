"""Going on without events that are gone: shown, asked for, and never by itself."""

import pytest

from services.merger.accept_loss import MergerLoss, accept_loss
from services.merger.directory import DirectoryUnusable
from tests.integration.merger.test_partition import committed_is
from tests.support.merger.partitions import R1, Scene, configure, delete_before, merger_settings
from tests.support.merger.records import a_log, an_event


async def merged(scene: Scene, count: int) -> None:
    """Append and merge events, and end in order."""
    setup = await scene.setup()
    partition = await scene.open(setup)
    await partition.merge(await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(count)))))
    await scene.end(partition)
    scene.release()


async def test_the_position_moves_to_the_start_of_the_log(scene: Scene) -> None:
    """And a merger starts again, and merges what is left."""
    await merged(scene, 2)
    records = await scene.publish(a_log(*(an_event(n, request_id=R1, data={str(n): n}) for n in range(4))))
    await delete_before(scene.kafka, scene.topology.events, 4)
    settings = merger_settings(scene.kafka, scene.home)

    assert await accept_loss(settings, lambda _: True) == [MergerLoss(scene.topology.events.name, 0, 2, 4)]
    partition = await scene.open()
    assert partition.position == 4
    assert await partition.merge(records[4:]) == 2


async def test_nothing_moves_unless_it_is_confirmed(scene: Scene) -> None:
    """What is lost is shown first, in words."""
    await merged(scene, 2)
    await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(4))))
    await delete_before(scene.kafka, scene.topology.events, 4)
    shown: list[str] = []

    def refuse(losses: object) -> bool:
        shown.extend(map(str, losses))  # type: ignore[call-overload]
        return False

    assert await accept_loss(merger_settings(scene.kafka, scene.home), refuse) == []
    assert shown == [f"2 offsets of {scene.topology.events.name}/0: 2 to 3"]
    assert await committed_is(scene, 2)


async def test_without_a_loss_no_confirmation_is_asked(scene: Scene) -> None:
    """There is nothing to agree to."""
    await merged(scene, 2)

    def never(_: object) -> bool:
        raise AssertionError

    assert await accept_loss(merger_settings(scene.kafka, scene.home), never) == []


async def test_a_copy_below_the_start_of_the_state_topic_goes(scene: Scene) -> None:
    """It lacks rows that the topic no longer has: somebody let retention loose on it."""
    await merged(scene, 2)
    other = await scene.open(await scene.setup(2))
    for number in range(2, 5):
        log = a_log(*(an_event(n, request_id=R1) for n in range(number + 1)))
        await other.merge((await scene.publish(log[-1:]))[number:])
    await configure(scene.kafka, scene.topology.state, cleanup_policy="compact,delete")
    await delete_before(scene.kafka, scene.topology.state, 4)
    settings = merger_settings(scene.kafka, scene.home)
    (loss,) = await accept_loss(settings, lambda _: True)

    assert (loss.topic, loss.copy is not None) == (scene.topology.state.name, True)
    assert (await scene.setup()).directory.stores() == {}


async def test_not_while_a_merger_works_in_the_directory(scene: Scene) -> None:
    """Its copies are open."""
    await scene.setup()

    with pytest.raises(DirectoryUnusable, match="another merger uses"):
        await accept_loss(merger_settings(scene.kafka, scene.home), lambda _: True)
