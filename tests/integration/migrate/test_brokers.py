"""`afterword migrate` on three real brokers, of which one is away."""

from typing import Any

import pytest

from schemas.topics import Topology
from services.local.settings import StatusSettings
from services.local.status import read_status
from services.operations.migrate.core.plan import MigrationRefusedError
from services.operations.migrate.run import MigrationStep, migration_steps
from services.operations.migrate.servers import describe_topics
from services.operations.migrate.settings import MigrateSettings
from services.pipeline.survey import admin
from services.runtime.settings import ClickHouseSettings
from tests.support.kafka.brokers import Cluster


async def steps(settings: MigrateSettings, *, sure: bool = False) -> list[MigrationStep]:
    """Migrate once, and return its steps."""
    return [step async for step in migration_steps(settings, 2, 30, lambda _loss: sure)]


async def copies(settings: MigrateSettings) -> set[tuple[int, str]]:
    """Return of our topics how many copies they have, and how many must be in sync."""
    names = [topic.name for topic in Topology().topics]
    async with admin(settings, "test") as client:
        found = (await describe_topics(client, names)).values()
    return {(one.replicas, one.config["min.insync.replicas"]) for one in found}


async def test_topics_are_made_with_all_copies_or_with_fewer_only_if_asked(
    own_cluster: Cluster, clickhouse_settings: ClickHouseSettings
) -> None:
    """It says what there really is, also of Kafka's own topics, and advises nothing that stops writes."""
    both: dict[str, Any] = {**own_cluster.settings.model_dump(), **clickhouse_settings.model_dump()}
    settings = MigrateSettings(**both)
    first, *others = own_cluster.nodes
    for node in (first, *others):
        assert node.is_running
    wanted = settings.replace(kafka_replication_factor=3)
    await first.kill()
    await own_cluster.knows(*(node.number for node in others))
    with pytest.raises(MigrationRefusedError, match=r"3 copies .* 2 brokers are alive"):
        await steps(wanted)
    async with admin(settings, "test") as client:
        assert not await describe_topics(client, [Topology().events.name])

    told = await steps(wanted, sure=True)
    assert await copies(settings) == {(2, "1")}
    assert any(one.text == "feedback-events: 2 copies, 2 in sync, 1 needed to write" for one in told)
    assert not any(
        "replica(s) of each topic" in one.text or "min.insync.replicas=2" in one.remedy for one in told
    )
    await own_cluster.start()
    noted = [step for step in await steps(wanted) if step.mark == "note"]
    assert any(one.text == "feedback-events has 2 copies, and there are 3 brokers" for one in noted)
    assert not any("add-config min.insync" in one.remedy for one in noted)

    following = settings.replace(kafka_topic_generation=3)
    names = [topic.name for topic in Topology(3).topics]
    told = await steps(following)
    async with admin(settings, "test") as client:
        assert {one.replicas for one in (await describe_topics(client, names)).values()} == {3}
    assert any(one.text == "feedback-events-v3: 3 copies, 3 in sync, 2 needed to write" for one in told)
    await others[0].kill()
    await own_cluster.knows(first.number, others[1].number)
    status = StatusSettings(**{name: both[name] for name in StatusSettings.model_fields if name in both})
    said = (await read_status(status)).kafka
    assert f"broker {others[0].number} is away" in said
    assert any(
        text.startswith("feedback-events-v3: 2 partitions have a copy that is not in sync") for text in said
    )
    with pytest.raises(MigrationRefusedError, match=f"broker {others[0].number} is away"):
        await steps(settings.replace(kafka_topic_generation=4))
