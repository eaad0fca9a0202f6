"""`afterword migrate` against a real Kafka and a real ClickHouse engine."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.tables import FEEDBACK_EVENTS, FEEDBACK_STATE, MIGRATIONS, migrations
from schemas.topics import Topology
from services.operations.migrate.core.plan import MigrationRefusedError
from services.operations.migrate.run import MigrationStep, migration_steps
from services.operations.migrate.servers import describe_topics
from services.operations.migrate.settings import MigrateSettings
from services.pipeline.survey import admin, partition_counts, recorded
from services.runtime.clickhouse.client import connect
from services.runtime.kafka.clients import client_options
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.clickhouse import tables

DAY = 24 * 60 * 60


@pytest.fixture
def settings(
    kafka: KafkaSettings, clickhouse_settings: ClickHouseSettings, generations: Iterator[int]
) -> MigrateSettings:
    """Settings of a deployment that nothing was made for yet, but for an empty database."""
    return MigrateSettings(
        **{**kafka.model_dump(), **clickhouse_settings.model_dump()}
        | {"kafka_topic_generation": next(generations), "kafka_partitions": 3}
    )


async def steps(settings: MigrateSettings, partitions: int | None = None) -> list[MigrationStep]:
    """Migrate once, and return its steps."""
    return [step async for step in migration_steps(settings, partitions, 30)]


def marks(told: list[MigrationStep]) -> set[str]:
    """Return how the steps were marked."""
    return {step.mark for step in told}


async def test_a_second_run_changes_nothing(settings: MigrateSettings) -> None:
    """Everything is made once, then only found again."""
    first, second = await steps(settings), await steps(settings)

    assert "done" in marks(first)
    assert not marks(first) & {"wrong", "note"}
    assert marks(second) == {"same"}


async def test_topics_and_record_are_as_designed(settings: MigrateSettings) -> None:
    """Both keyed topics have the partitions asked for, the dead letters one, and the record says so."""
    await steps(settings, partitions=5)
    topology = Topology(settings.kafka_topic_generation)

    async with admin(settings, "test") as client:
        counts = await partition_counts(client, [topic.name for topic in topology.topics])
    warehouse = await connect(settings)
    (record,) = await recorded(warehouse, settings.clickhouse_database)
    await warehouse.close()

    assert list(counts.values()) == [5, 5, 1, 1]
    assert (record.generation, record.partitions) == (settings.kafka_topic_generation, 5)


async def test_a_run_that_was_cut_off_is_finished_by_the_next(settings: MigrateSettings) -> None:
    """Tables that exist without a record of it are made again, which changes nothing."""
    await steps(settings)
    client = await connect(settings)
    await client.command(f"TRUNCATE TABLE {MIGRATIONS}")

    await steps(settings)

    applied = (await client.query(f"SELECT number FROM {MIGRATIONS} FINAL ORDER BY number")).result_rows
    await client.close()
    assert [number for (number,) in applied] == [migration.number for migration in migrations()]


async def test_every_column_shows_what_it_is(settings: MigrateSettings) -> None:
    """Whoever opens the database finds the explanations in it."""
    await steps(settings)
    client = await connect(settings)

    silent = await client.query(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = ''"
    )
    tables = await client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''"
    )
    await client.close()

    assert silent.result_rows == []
    assert tables.result_rows == []


async def test_a_setting_that_breaks_a_promise_is_reported_with_its_cure(settings: MigrateSettings) -> None:
    """Events that compaction may drop are no log."""
    await steps(settings)
    events = Topology(settings.kafka_topic_generation).events.name
    async with admin(settings, "test") as client:
        await client.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, events, {"cleanup.policy": "compact"})]
        )

    (wrong,) = [
        step for step in await steps(settings) if step.mark == "wrong" and "cleanup.policy" in step.text
    ]

    assert f"--entity-name {events} --add-config cleanup.policy=delete" in wrong.remedy


async def test_a_deleted_topic_is_not_made_again(settings: MigrateSettings) -> None:
    """Under the same name its offsets would begin again."""
    await steps(settings)
    topology = Topology(settings.kafka_topic_generation)
    async with admin(settings, "test") as client:
        await client.delete_topics([topology.state.name])

        with pytest.raises(MigrationRefusedError, match=f"Kafka has lost {topology.state.name}"):
            await steps(settings)

        assert topology.state.name not in await client.list_topics()


async def test_tables_of_another_cluster_are_refused_until_a_new_generation(
    settings: MigrateSettings, generations: Iterator[int]
) -> None:
    """Kafka wiped and ClickHouse kept: nothing is created under the old names."""
    await steps(settings)
    client = await connect(settings)
    await client.command(
        f"INSERT INTO deployments (generation, cluster_id, partitions)"
        f" VALUES ({settings.kafka_topic_generation}, 'a-cluster-that-is-gone', 3)"
    )
    await client.close()

    with pytest.raises(MigrationRefusedError, match="a-cluster-that-is-gone"):
        await steps(settings)

    assert "wrong" not in marks(await steps(settings.replace(kafka_topic_generation=next(generations))))


async def test_the_database_is_made_when_it_does_not_exist(settings: MigrateSettings) -> None:
    """A fresh server needs no preparation."""
    database = f"{settings.clickhouse_database}_fresh"
    fresh = settings.replace(clickhouse_database=database)

    await steps(fresh)

    client = await connect(fresh)
    tables = (await client.query("SHOW TABLES")).result_rows
    await client.command(f"DROP DATABASE {database}")
    await client.close()
    assert (FEEDBACK_STATE,) in tables


@pytest.mark.parametrize("away", ["KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL"])
async def test_a_server_that_is_away_ends_in_75_and_is_named(settings: MigrateSettings, away: str) -> None:
    """A script can tell try-again from mend-this."""
    servers = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "CLICKHOUSE_URL": settings.clickhouse_url,
        "CLICKHOUSE_DATABASE": settings.clickhouse_database,
        "KAFKA_TOPIC_GENERATION": str(settings.kafka_topic_generation),
    }
    nowhere = "127.0.0.1:1" if away.startswith("KAFKA") else "http://127.0.0.1:1"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "migrate", "--wait", "1",
        env={**os.environ, **servers, away: nowhere},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    _, complaint = await process.communicate()

    assert process.returncode == 75
    assert f"{nowhere} does not answer" in complaint.decode()
    assert away in complaint.decode()


async def test_a_shorter_retention_shows_what_it_deletes_and_waits_for_agreement(
    settings: MigrateSettings,
) -> None:
    """In topics and in tables; then it holds, and a second run has nothing to do."""
    await steps(settings)
    topology, now = Topology(settings.kafka_topic_generation), time.time()
    await tables.insert(settings, FEEDBACK_EVENTS, [_event(now - age * DAY) for age in (1, 50)])
    producer = AIOKafkaProducer(**client_options(settings, "tests"))
    await producer.start()
    await producer.send_and_wait(topology.events_dlq.name, b"x", timestamp_ms=int((now - 50 * DAY) * 1000))
    await producer.stop()
    wished = MigrateSettings(
        **{name: getattr(settings, name) for name in settings.model_fields_set},
        retention_events_table_days=40,
        retention_dead_letters_days=45,
        retention_events_days=35,
    )
    asked: list[str] = []

    def refuse(loss: str) -> bool:
        asked.append(loss)
        return False

    refused = [step async for step in migration_steps(wished, None, 30, refuse)]
    agreed = [step async for step in migration_steps(wished, None, 30, lambda _: True)]
    again = await steps(wished)

    assert len(asked) == 2
    assert "feedback_events keeps everything for 40 days (before: ever): 1 rows are older" in asked[0]
    assert "for 45 days (before: 90 days): 1 records are older and are deleted" in asked[1]
    assert [step.text[:9] for step in refused if step.mark == "note"] == ["not done:"] * 2
    assert [step.mark for step in agreed if " keeps everything for " in step.text] == ["done"] * 2
    assert marks(again) <= {"same", "note"}
    assert not [step for step in again if " keeps everything for " in step.text]
    await tables.run(settings, f"OPTIMIZE TABLE {FEEDBACK_EVENTS} FINAL")
    assert await tables.rows(settings, f"SELECT count() FROM {FEEDBACK_EVENTS}") == [(1,)]
    async with admin(settings, "test") as client:
        found = await describe_topics(client, [topology.events.name, topology.events_dlq.name])
    assert found[topology.events.name].config["retention.ms"] == str(35 * DAY * 1000)
    assert found[topology.events_dlq.name].config["retention.ms"] == str(45 * DAY * 1000)
    assert found[topology.events_dlq.name].config["max.message.bytes"] == str(10 << 20)


def _event(appended: float) -> dict[str, object]:
    moment = datetime.fromtimestamp(appended, UTC).strftime("%Y-%m-%d %H:%M:%S.000")
    return {
        "tenant": "default",
        "request_id": "r",
        "version": int(appended),
        "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "op": "merge",
        "source": "native",
        "received_at": moment,
        "appended_at": moment,
        "log_partition": 0,
        "log_offset": int(appended),
    }
