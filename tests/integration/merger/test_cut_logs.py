"""Kafka comes back with a shorter log: the merger notices while it runs, and at every later start."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.kafka.node_copies import KafkaCopy
from tests.support.merger.partitions import R1, Scene, create_topic
from tests.support.merger.process import MergerProcess
from tests.support.merger.records import a_log, an_event
from tests.support.stack.local_servers import OwnKafka


async def publish(scene: Scene, first: int, count: int) -> None:
    """Append events to partition 0."""
    await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(first, first + count))))


async def is_merged(scene: Scene, offset: int) -> bool:
    """Return whether everything before an offset is merged."""
    return await scene.committed() == offset


@pytest.mark.parametrize("regrown", [10, 90], ids=["and stays shorter", "and outgrows the position"])
async def test_a_log_that_was_cut_ends_a_running_merger_and_stays_refused(
    own_kafka: OwnKafka, tmp_path: Path, regrown: int
) -> None:
    """Nothing of the new log is taken for what the old one had at the same offsets."""
    scene = Scene(own_kafka.settings, tmp_path / "scene")
    topology = scene.topology
    for topic in (topology.events, topology.state, topology.events_dlq):
        await create_topic(own_kafka.settings, topic, topic.partitions(4))
    merger = MergerProcess(own_kafka.settings, tmp_path)
    await merger.start()
    try:
        await publish(scene, 0, 40)
        await eventually(lambda: is_merged(scene, 40), within=30)
        await own_kafka.stop()
        copy = KafkaCopy(own_kafka, tmp_path / "backup", topology.events.name)
        await own_kafka.start()
        await publish(scene, 100, 40)
        await eventually(lambda: is_merged(scene, 80), within=60)
        await own_kafka.kill()
        copy.restore()
        await own_kafka.start()
        await publish(scene, 200, regrown)

        await eventually(lambda: merger.child and merger.child.exit_code() is not None, within=60)
        assert "ContinuityError" in merger.said()
        assert await scene.committed() == 80

        await publish(scene, 300, 100)
        starting = asyncio.create_task(merger.start())
        await eventually(lambda: refuses(merger, "is of another log"), within=60)
        assert (await merger.get("/livez"))[0] == 200
        starting.cancel()
    finally:
        await merger.kill()
    assert "log_differs" in (tmp_path / "merger" / "v0" / "refused.json").read_text()


async def test_kafka_that_was_emptied_ends_a_running_merger(own_kafka: OwnKafka, tmp_path: Path) -> None:
    """It answers, and has no topic: waiting would never end."""
    scene = Scene(own_kafka.settings, tmp_path / "scene")
    topology = scene.topology
    for topic in (topology.events, topology.state, topology.events_dlq):
        await create_topic(own_kafka.settings, topic, topic.partitions(4))
    merger = MergerProcess(own_kafka.settings, tmp_path)
    await merger.start()
    try:
        await publish(scene, 0, 40)
        await eventually(lambda: is_merged(scene, 40), within=30)
        await own_kafka.kill()
        shutil.rmtree(own_kafka.directory / "data")
        await own_kafka.start()

        await eventually(lambda: merger.child and merger.child.exit_code() is not None, within=90)
    finally:
        await merger.kill()
    assert "This Kafka cluster is" in merger.said()


async def refuses(merger: MergerProcess, words: str) -> bool:
    """Return whether a merger says so by its readiness."""
    status, body = await merger.get("/readyz")
    return status == 503 and words in body
