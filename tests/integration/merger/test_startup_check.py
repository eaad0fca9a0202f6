"""What keeps the merger from starting, and what does not."""

import pytest

from schemas.tables import DEPLOYMENTS
from services.merger.directory import Directory
from services.pipeline.core.continuity import ContinuityError, Recorded
from services.pipeline.survey import admin, cluster_id
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert
from tests.support.eventually import eventually
from tests.support.merger.partitions import (
    R1,
    Scene,
    commit,
    create_topic,
    delete_before,
    delete_topic,
)
from tests.support.merger.records import a_log, an_event


async def kinds(scene: Scene, **changes: object) -> list[str]:
    """Return why a new merger refuses to start; nothing when it starts."""
    try:
        await scene.setup(9, **changes)
    except ContinuityError as error:
        return [problem.kind for problem in error.problems]
    return []


async def merged(scene: Scene, count: int = 4) -> None:
    """Merge some events, and end in order."""
    partition = await scene.open(await scene.setup(9))
    await partition.merge(await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(count)))))
    await scene.end(partition)
    scene.release()


async def test_it_starts_without_clickhouse(scene: Scene) -> None:
    """Which is asked for one thing only, that its own directory knows as well."""
    await merged(scene)

    assert await kinds(scene) == []


async def test_topics_that_are_missing(scene: Scene) -> None:
    """Migrate makes them."""
    await delete_topic(scene.kafka, scene.topology.state)

    assert await kinds(scene) == ["topic_missing"]


async def test_partition_counts_that_differ(scene: Scene) -> None:
    """A key would live in two partitions."""
    await delete_topic(scene.kafka, scene.topology.state)
    await create_topic(scene.kafka, scene.topology.state, partitions=3)

    assert await kinds(scene) == ["partitions_differ"]


async def test_a_position_beyond_the_end(scene: Scene) -> None:
    """The log was cut short."""
    await commit(scene.kafka, scene.topology, 99)

    assert await kinds(scene) == ["beyond_the_end"]


async def test_a_position_below_the_start(scene: Scene) -> None:
    """Events were deleted before they were read."""
    await merged(scene)
    await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(4))))
    await delete_before(scene.kafka, scene.topology.events, 6)

    assert await kinds(scene) == ["below_the_start"]


async def test_rows_that_know_more_than_the_log(scene: Scene) -> None:
    """The events topic was recreated: with it Kafka forgot the group's position, but the rows know."""
    await merged(scene)
    await delete_topic(scene.kafka, scene.topology.events)
    await create_topic(scene.kafka, scene.topology.events, partitions=4)

    async def is_forgotten() -> bool:
        return await scene.committed() is None

    assert await eventually(is_forgotten)
    assert await kinds(scene) == ["beyond_the_end"]


async def test_another_machine_sees_that_from_the_rows_it_reads_back(scene: Scene) -> None:
    """It has no copy, so only the partition can tell, when it is opened."""
    await merged(scene)
    await delete_topic(scene.kafka, scene.topology.events)
    await create_topic(scene.kafka, scene.topology.events, partitions=4)
    setup = await scene.setup(2)

    with pytest.raises(ContinuityError, match="read by rows"):
        await scene.open(setup)


async def test_a_state_topic_that_was_recreated(scene: Scene) -> None:
    """The copy on this machine reaches further than the topic."""
    await merged(scene)
    await delete_topic(scene.kafka, scene.topology.state)
    await create_topic(scene.kafka, scene.topology.state, partitions=4)

    assert await kinds(scene) == ["beyond_the_end"]


async def test_another_cluster_than_the_directory_knows(scene: Scene) -> None:
    """With nobody else to ask."""
    directory = Directory(scene.home, 9, scene.topology.generation)
    directory.record(Recorded(scene.topology.generation, "another-cluster", 4))
    directory.close()

    assert await kinds(scene) == ["cluster_differs"]


async def _cluster(scene: Scene) -> str:
    async with admin(scene.kafka, "tests") as client:
        return await cluster_id(client)


async def _recorded(scene: Scene, clickhouse: ClickHouseSettings, cluster: str) -> dict[str, str]:
    await create_tables(clickhouse)
    row = {"generation": scene.topology.generation, "cluster_id": cluster, "partitions": 4}
    await insert(clickhouse, DEPLOYMENTS, [row])
    return {
        "clickhouse_url": clickhouse.clickhouse_url,
        "clickhouse_database": clickhouse.clickhouse_database,
    }


async def test_another_cluster_than_clickhouse_knows(
    scene: Scene, clickhouse_settings: ClickHouseSettings
) -> None:
    """Kafka was wiped, and ClickHouse kept."""
    answering = await _recorded(scene, clickhouse_settings, "another-cluster")

    assert await kinds(scene, **answering) == ["cluster_differs"]


async def test_a_generation_that_clickhouse_does_not_know(
    scene: Scene, clickhouse_settings: ClickHouseSettings
) -> None:
    """Nobody ran migrate."""
    url, name = clickhouse_settings.clickhouse_url, clickhouse_settings.clickhouse_database

    assert await kinds(scene, clickhouse_url=url, clickhouse_database=name) == ["not_recorded"]


async def test_copies_of_another_cluster_are_rebuilt(
    scene: Scene, clickhouse_settings: ClickHouseSettings
) -> None:
    """ClickHouse says that this is the right cluster, so the copies are of the wrong one."""
    await merged(scene)
    directory = Directory(scene.home, 9, scene.topology.generation)
    directory.record(Recorded(scene.topology.generation, "another-cluster", 4))
    directory.close()
    answering = await _recorded(scene, clickhouse_settings, await _cluster(scene))

    setup = await scene.setup(9, **answering)
    assert setup.directory.stores() == {}
    assert setup.directory.recorded() == Recorded(scene.topology.generation, await _cluster(scene), 4)
