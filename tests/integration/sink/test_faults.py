"""What goes wrong around the sink: servers that die, the sink that dies, logs that do not fit."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete
from structlog.testing import capture_logs

from schemas.tables import FEEDBACK, REFUSALS, SINK_POSITIONS
from schemas.topics import EVENTS_ROUTE, STATE_ROUTE, Topology
from services.operations.migrate.core.plan import MigrationRefusedError
from services.pipeline.core.continuity import ContinuityError
from services.pipeline.offsets import offsets
from services.pipeline.survey import admin, committed, partition_counts
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.runtime.kafka.lost_records import Loss, StillRunningError
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.accept_loss import accept_loss
from services.sink.app import run
from services.sink.core.routes import routes
from services.sink.core.rows import position_line
from services.sink.settings import SinkSettings
from services.sink.watchdog import SinkWatchdog, WatchedRoute
from tests.integration.sink.test_flow import states, stored
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.kafka.node_copies import KafkaCopy
from tests.support.merger.state_log import write
from tests.support.operations.command import afterword
from tests.support.operations.rebuild import environ
from tests.support.sink.doubles import InMemoryWriter
from tests.support.sink.runs import SinkProgram, count, counted, failing, is_ready, migrated, probe, running
from tests.support.stack.local_servers import OwnKafka, OwnWarehouse


async def test_clickhouse_may_die_in_the_middle_of_the_load(
    kafka_settings: KafkaSettings, own_warehouse: OwnWarehouse
) -> None:
    """The sink waits, says so once, stays in its groups, and stores everything when ClickHouse is back."""
    settings = await migrated(kafka_settings, own_warehouse.settings, sink_batch_rows=500)
    topology = Topology(settings.kafka_topic_generation)
    with capture_logs() as logs:
        async with running(settings):
            await write(settings, topology.state, states(0, 2_000))
            await eventually(lambda: count(settings), within=30)
            await own_warehouse.kill()
            await write(settings, topology.state, states(2_000, 3_000))
            await eventually(lambda: _complains(settings, "ClickHouse has not done its work"), within=30)
            assert (await probe(settings, "livez")).status_code == 200

            await own_warehouse.start()

            await stored(settings, 5_000, within=60)
            await eventually(lambda: is_ready(settings), within=15)

    said = [log["event"] for log in logs if log.get("route") == STATE_ROUTE]
    assert said.count("start offsets set") == 1, "it left its group while it waited"
    assert said.count("server stopped answering") <= 2
    assert "route failed" not in said


@pytest.mark.parametrize("more", [50, 0], ids=["while more comes", "while nothing comes"])
async def test_clickhouse_restored_under_a_running_sink_is_filled_again(
    kafka_settings: KafkaSettings, own_warehouse: OwnWarehouse, tmp_path: Path, more: int
) -> None:
    """What the backup lacks is read from the topics again; no position is written over the restored one."""
    settings = await migrated(kafka_settings, own_warehouse.settings)
    topology = Topology(settings.kafka_topic_generation)
    data, backup = own_warehouse.directory / "data", tmp_path / "backup"
    went_back = counted("sink_store_went_back_total", route=STATE_ROUTE)
    async with running(settings):
        await write(settings, topology.state, states(0, 200))
        await stored(settings, 200)
        await own_warehouse.stop()
        shutil.copytree(data, backup, symlinks=True)
        await own_warehouse.start()
        await write(settings, topology.state, states(0, 100, data={"comment": "updated"}))
        await write(settings, topology.state, states(200, 200))
        await stored(settings, 400, within=60)
        await own_warehouse.kill()
        shutil.rmtree(data)
        shutil.copytree(backup, data, symlinks=True)
        await own_warehouse.start()
        await write(settings, topology.state, states(400, more))

        await stored(settings, 400 + more, within=60)

    updated = f"SELECT count() FROM {FEEDBACK} WHERE comment = 'updated'"
    assert await tables.rows(settings, updated) == [(100,)]
    assert counted("sink_store_went_back_total", route=STATE_ROUTE) == went_back + 1


async def test_a_kafka_that_comes_back_with_a_shorter_log_is_refused_until_the_log_is_back(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """The sink is alive and says why; neither new records nor a restart end that, only the right log does."""
    settings, state = await migrated(own_kafka.settings, clickhouse_settings), Topology().state
    async with running(settings):
        await write(settings, state, states(0, 200))
        await stored(settings, 200)
        await own_kafka.stop()
        cut = KafkaCopy(own_kafka, tmp_path / "cut", state.name)
        await own_kafka.start()
        await write(settings, state, states(200, 200))
        await stored(settings, 400, within=60)
        await own_kafka.kill()
        whole = KafkaCopy(own_kafka, tmp_path / "whole", state.name)
        cut.restore()
        await own_kafka.start()
        await write(settings, state, states(1_000, 600))
        await eventually(lambda: _refuses(settings, "of another log"), within=60)
        assert (await probe(settings, "livez")).status_code == 200

    await write(settings, state, states(2_000, 600))
    async with running(settings):
        await eventually(lambda: _refuses(settings, "of another log"), within=30)
        assert {*await _open_refusals(settings)} == {"log_differs"}
        await own_kafka.kill()
        whole.restore()
        await own_kafka.start()
        await eventually(lambda: is_ready(settings), within=60)
        assert await _open_refusals(settings) == []
        await stored(settings, 400, within=60)


async def _refuses(settings: SinkSettings, words: str) -> bool:
    return words in (await failing(settings, "readyz")).get("refused", "")


async def _open_refusals(settings: SinkSettings) -> list[str]:
    found = await tables.rows(settings, f"SELECT kind FROM {REFUSALS} FINAL WHERE is_over = 0")
    return [kind for (kind,) in found]


async def _complains(settings: SinkSettings, words: str) -> bool:
    return any(words in text for text in (await failing(settings, "readyz")).values())


async def test_the_sink_may_be_killed_at_any_time(settings: SinkSettings, tmp_path: Path) -> None:
    """Killed in the middle of the load, with no chance to say goodbye: nothing is lost."""
    topology = Topology(settings.kafka_topic_generation)
    await write(settings, topology.state, states(0, 8_000))
    sink = SinkProgram(settings.replace(sink_batch_rows=400), tmp_path)
    await sink.start()
    await eventually(lambda: count(settings), within=60, every=0.01)
    await sink.kill()
    assert await count(settings) < 8_000, "it was killed too late to prove anything"
    try:
        await sink.start()
        await stored(settings, 8_000, within=60)
    finally:
        await sink.stop()


async def test_a_stopped_process_fails_its_liveness(settings: SinkSettings, tmp_path: Path) -> None:
    """SIGSTOP freezes everything; the probe does not answer, and does again after SIGCONT."""
    sink = SinkProgram(settings, tmp_path)
    await sink.start()
    assert sink.child is not None
    try:
        await eventually(lambda: is_ready(settings), within=30)
        os.kill(sink.child.pid, signal.SIGSTOP)

        with pytest.raises(httpx.TimeoutException):
            await probe(settings, "livez")

        os.kill(sink.child.pid, signal.SIGCONT)
        await eventually(lambda: is_ready(settings), within=30)
    finally:
        await sink.stop()


async def test_a_sink_that_is_asked_to_stop_leaves_its_groups(settings: SinkSettings, tmp_path: Path) -> None:
    """Others have its partitions at once, and not only when its session has ended."""
    groups = [route.group for route in routes(Topology(settings.kafka_topic_generation))]
    sink = SinkProgram(settings, tmp_path)
    await sink.start()
    try:
        await eventually(lambda: is_ready(settings), within=60)
    finally:
        code = await sink.stop()
    async with offsets(settings, "tests") as kafka:
        assert await kafka.members(groups) == dict.fromkeys(groups, 0)
    assert code == 0


async def test_a_reader_that_makes_no_progress_fails_liveness(settings: SinkSettings) -> None:
    """Something to read, ClickHouse up, and no position moves: only a restart can help."""
    topology = Topology(settings.kafka_topic_generation)
    state_route = routes(topology)[0]
    excuses = {"clickhouse is down": False}
    watched = WatchedRoute(state_route, frozenset, lambda: excuses["clickhouse is down"])
    watch = SinkWatchdog(settings, 0.1, 1.0, [watched])
    looking = asyncio.create_task(watch.run())
    try:
        await eventually(lambda: watch.complaint() is None, within=20)
        assert watch.stalled(watched) is None

        await write(settings, topology.state, states(0, 10))

        text = await eventually(lambda: watch.stalled(watched), within=20)
        assert "nothing was stored for" in str(text)
        excuses["clickhouse is down"] = True
        await eventually(lambda: watch.stalled(watched) is None, within=20)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def test_kafka_may_die_and_come_back(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings
) -> None:
    """Readiness says so while it lasts, liveness does not, and the sink continues by itself."""
    settings = await migrated(own_kafka.settings, clickhouse_settings)
    await write(settings, Topology().state, states(0, 100))
    async with running(settings):
        await stored(settings, 100)
        await own_kafka.kill()
        await eventually(lambda: _complains(settings, "Kafka does not answer"), within=60)
        assert (await probe(settings, "livez")).status_code == 200

        await own_kafka.start()
        await write(settings, Topology().state, states(100, 100))

        await stored(settings, 200, within=60)
        await eventually(lambda: is_ready(settings), within=60)


async def test_kafka_emptied_under_a_running_sink_is_refused(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings
) -> None:
    """It answers, and is another cluster without topics: waiting would never end."""
    settings = await migrated(own_kafka.settings, clickhouse_settings)
    await write(settings, Topology().state, states(0, 10))
    stop = asyncio.Event()
    sink = asyncio.create_task(run(settings, stop))
    await stored(settings, 10)
    await own_kafka.kill()
    shutil.rmtree(own_kafka.directory / "data")
    await own_kafka.start()

    with pytest.raises(ContinuityError, match="came from"):
        await asyncio.wait_for(sink, 90)


async def test_kafka_wiped_with_clickhouse_kept_is_refused(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """Another cluster under the same address: sink and migrate both name the way out, and touch nothing."""
    settings = await migrated(own_kafka.settings, clickhouse_settings)
    await write(settings, Topology().state, states(0, 10))
    async with running(settings):
        await stored(settings, 10)
    await own_kafka.kill()
    for entry in own_kafka.directory.iterdir():
        if entry.name != "jars":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    await own_kafka.start()

    with pytest.raises(ContinuityError, match=r"came from(.|\n)*`afterword recover`"):
        await run(settings, asyncio.Event())
    with pytest.raises(MigrationRefusedError, match="`afterword recover`"):
        await migrated(own_kafka.settings, clickhouse_settings)

    async with admin(settings, "test") as client:
        assert await partition_counts(client, [topic.name for topic in Topology().topics]) == {}
    leading = {name: text for name, text in environ(settings, tmp_path).items() if "GENERATION" not in name}
    ended = await asyncio.to_thread(afterword, "recover", "--yes", environ=leading)
    assert ended.code == 0, ended.err
    renewed = await migrated(own_kafka.settings.replace(kafka_topic_generation=2), clickhouse_settings)
    async with running(renewed):
        await write(renewed, Topology(2).state, states(5, 10))
        await stored(renewed, 15)


async def test_a_log_cut_short_below_the_position_is_refused(settings: SinkSettings) -> None:
    """Events were deleted before the sink had stored them; only an operator can write them off."""
    topology = Topology(settings.kafka_topic_generation)
    await _stored_once(settings, topology)
    events = [(key, b"no event") for key, _ in states(0, 400)]
    await write(settings, topology.events, events)
    async with admin(settings, "test") as client:
        places = {TopicPartition(topology.events.name, number): RecordsToDelete(50) for number in range(4)}
        await client.delete_records(places)

    with pytest.raises(ContinuityError, match="`afterword sink accept-loss`"):
        await run(settings, asyncio.Event())

    shown: list[str] = []

    def disagree(losses: Sequence[Loss]) -> bool:
        shown.extend(map(str, losses))
        return False

    writer = ClickHouseWriter(settings, 30)
    assert await accept_loss(settings, writer, disagree) == []
    assert f"50 offsets of {topology.events.name}/0: 0 to 49" in shown
    assert len(await accept_loss(settings, writer, lambda _: True)) == 4
    await writer.close()
    async with running(settings):
        await eventually(lambda: is_ready(settings), within=30)


async def test_no_loss_is_accepted_under_a_running_sink(settings: SinkSettings) -> None:
    """Its positions would move under it."""
    topology = Topology(settings.kafka_topic_generation)
    await write(settings, topology.events, [(key, b"no event") for key, _ in states(0, 400)])
    group = topology.sink_group(EVENTS_ROUTE)
    async with running(settings):
        await eventually(lambda: _committed(settings, group, topology), within=30)
        async with admin(settings, "test") as client:
            await client.delete_records({TopicPartition(topology.events.name, 0): RecordsToDelete(60)})
        behind = InMemoryWriter()
        low = position_line(EVENTS_ROUTE, topology.events.name, 0, 10, 0)
        await behind.insert(SINK_POSITIONS, [low])

        with pytest.raises(StillRunningError, match=group):
            await accept_loss(settings, behind, lambda _: True)


async def _committed(settings: SinkSettings, group: str, topology: Topology) -> bool:
    found = await committed(settings, "test", group, topology.events.name, 4)
    return sum(position.offset for position in found) == 400


async def test_a_topic_made_again_under_its_name_is_refused(settings: SinkSettings) -> None:
    """Its offsets began again, so the stored positions lie beyond its end."""
    topology = Topology(settings.kafka_topic_generation)
    await _stored_once(settings, topology)
    async with admin(settings, "test") as client:
        await client.delete_topics([topology.state.name])
        again = NewTopic(topology.state.name, 4, 1, topic_configs=topology.state.config())

        async def created() -> bool:
            await client.create_topics([again])
            return await partition_counts(client, [again.name]) == {again.name: 4}

        await eventually(created, within=20)

    async with running(settings):
        await eventually(lambda: _refuses(settings, "beyond the log's end"), within=30)


async def test_a_sink_before_migrate_is_asked_to_migrate(
    kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """The process ends with 1 and one line that names the command."""
    both = {**kafka_settings.model_dump(), **clickhouse_settings.model_dump()}
    sink = SinkProgram(SinkSettings(**both, sink_metrics_port=0), tmp_path)

    with pytest.raises(RuntimeError, match=r"ended with 1:(.|\n)*afterword migrate`"):
        await sink.start()


async def test_a_port_that_is_taken_is_one_clear_line(settings: SinkSettings, tmp_path: Path) -> None:
    """Not a traceback: what is taken, and which variable to change."""
    sink = SinkProgram(settings, tmp_path)
    port = settings.sink_metrics_port
    line = r"ended with 2:(.|\n)*SINK_METRICS_PORT"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(RuntimeError, match=line):
        await sink.start()


async def _stored_once(settings: SinkSettings, topology: Topology) -> None:
    await write(settings, topology.state, states(0, 100))
    async with running(settings):
        await stored(settings, 100)
