"""What Kafka lost is filled again from ClickHouse, on a real Kafka and a real ClickHouse engine."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.identity import event_key, split_version
from schemas.tables import FEEDBACK, FEEDBACK_EVENTS, SINK_POSITIONS
from schemas.topics import Topology
from services.merger.partition import OwnedPartition
from services.operations.migrate.servers import record_deployment
from services.pipeline import refusals
from services.pipeline.core.continuity import (
    DIFFERS,
    ContinuityError,
    ContinuityProblem,
    HeldPosition,
    Recorded,
)
from services.pipeline.survey import admin, cluster_id
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.kafka.topics import create_topics
from tests.support.merger.partitions import R1, R2, R3, Scene, delete_topic
from tests.support.merger.records import ARecord, a_log, an_event
from tests.support.merger.state_log import ends
from tests.support.operations.command import afterword
from tests.support.operations.forked_command import start
from tests.support.operations.rebuild import environ
from tests.support.sink.runs import migrated, running
from tests.support.stack.local_servers import OwnKafka

STEPS = (
    "Bringing the tables up to date",
    "Making the topics",
    "Recording them",
    "Pausing",
    "Fencing the old merger",
    "Carrying over",
    "Filling the states",
    "writing states",
    "Leaving the old log",
)


class Installation:
    """A Kafka of its own with one partition that is merged, and a database."""

    def __init__(self, kafka: OwnKafka, sink: SinkSettings, home: Path) -> None:
        self.kafka, self.sink, self.home = kafka, sink, home
        self.scenes: list[Scene] = []

    def scene(self, generation: int = 0) -> Scene:
        """Return a merger's view of a generation, with local copies of its own."""
        home = self.home / f"merger-{len(self.scenes)}"
        found = Scene(self.kafka.settings.replace(kafka_topic_generation=generation), home)
        self.scenes.append(found)
        return found

    async def merge(self, scene: Scene, *bodies: dict[str, Any]) -> None:
        """Publish events, and merge everything that is there, as a merger that is started and stopped."""
        await scene.publish(a_log(*bodies))
        partition = await self.opened(scene)
        await partition.merge(await scene.events())
        await scene.end(partition)
        scene.release()

    async def opened(self, scene: Scene) -> OwnedPartition:
        """Open the partition as a merger does that asks ClickHouse."""
        names = ClickHouseSettings.model_fields
        asked = {name: value for name, value in self.sink.model_dump().items() if name in names}
        return await scene.open(await scene.setup(1, **asked))

    async def store(self, events: int, generation: int = 0) -> None:
        """Run a sink until the table has so many events, and everything else is stored."""
        settings = self.sink.replace(kafka_topic_generation=generation)

        async def there() -> bool:
            ((count,),) = await tables.rows(settings, f"SELECT count() FROM {FEEDBACK_EVENTS} FINAL")
            return bool(count >= events and await self._is_stored(generation))

        async with running(settings):
            await eventually(there, within=60)

    async def _is_stored(self, generation: int) -> bool:
        topology = Topology(generation)
        for topic in (topology.events, topology.state):
            asked = f"SELECT sum(position) FROM {SINK_POSITIONS} FINAL WHERE topic = '{topic.name}'"
            if await tables.rows(self.sink, asked) != [(sum(await ends(self.kafka.settings, topic)),)]:
                return False
        return True

    async def call(self, *arguments: str, **more: str) -> tuple[int, str]:
        """Call a command; its exit code, and what it printed."""
        variables = {**self.variables, **more}
        ended = await asyncio.to_thread(afterword, *arguments, environ=variables)
        return ended.code, ended.out if "--json" in arguments else ended.out + ended.err

    @property
    def variables(self) -> dict[str, str]:
        """What leads commands here, with the generation to be found by themselves."""
        found = environ(self.sink, self.home)
        return {name: value for name, value in found.items() if name != "KAFKA_TOPIC_GENERATION"}

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Return the data of each request."""
        found = await tables.rows(self.sink, f"SELECT request_id, data FROM {FEEDBACK}")
        return {request_id: orjson.loads(data) for request_id, data in found}

    async def close(self) -> None:
        """End everything."""
        for scene in self.scenes:
            await scene.close()


@pytest.fixture
async def installation(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> AsyncIterator[Installation]:
    """Topics of generation 0 on a Kafka that a test may wipe, and tables."""
    sink = await migrated(own_kafka.settings, clickhouse_settings)
    found = Installation(own_kafka, sink, tmp_path)
    yield found
    await found.close()


async def test_new_feedback_is_merged_into_old_rows_after_kafka_was_wiped(installation: Installation) -> None:
    """No command that is named makes topics that begin with nothing, and no merger works on such."""
    one = installation
    await one.merge(
        one.scene(),
        an_event(0, request_id=R1, data={"rating": 5, "comment": "keep me"}),
        an_event(1, request_id=R2, data={"rating": 1}),
        an_event(2, request_id=R2, op="erase"),
        an_event(3, request_id=R3, data={"tag": "x", "gone": 1}),
        an_event(4, request_id=R3, data={"gone": None}),
    )
    await one.store(5)
    await one.kafka.stop()
    shutil.rmtree(one.kafka.directory / "data")
    await one.kafka.start()

    for given in ({}, {"KAFKA_TOPIC_GENERATION": "2"}):
        code, told = await one.call("migrate", **given)
        assert code == 1
        assert "`afterword recover`" in told
        assert "DROP" not in told
    code, told = await one.call("recover")
    assert "feedback-events-v2" in told
    assert "Nothing is deleted" in told
    assert "dry run" in told

    code, told = await one.call("recover", "--yes")
    assert code == 0, told
    assert "3 states" in told
    scene = one.scene(2)
    await one.merge(
        scene,
        an_event(10, request_id=R1, data={"tag": "late"}),
        an_event(11, request_id=R2, data={"after": 1}),
        an_event(12, request_id=R3, data={"gone": 2}),
    )
    await one.store(6, 2)
    assert await one.rows() == {
        R1: {"rating": 5, "comment": "keep me", "tag": "late"},
        R2: {"after": 1},
        R3: {"tag": "x", "gone": 2},
    }
    code, told = await one.call("verify", "--all")
    assert code == 0, told
    assert (await one.call("migrate"))[0] == 0


async def test_a_log_that_was_cut_short_keeps_what_only_clickhouse_has_and_what_came_later(
    installation: Installation,
) -> None:
    """Offsets were given out twice: both events of each are kept, in the order in which they were taken."""
    one = installation
    scene = one.scene()
    await one.merge(scene, an_event(0, request_id=R1, data={"a": 1}))
    await one.kafka.stop()
    data, copy = one.kafka.directory / "data", one.home / "copy"
    shutil.copytree(data, copy)
    await one.kafka.start()
    await one.merge(
        scene,
        an_event(1, request_id=R1, data={"a": 2, "lost": 1}),
        an_event(2, request_id=R2, data={"lost": 2}),
    )
    await one.store(3)
    await one.kafka.stop()
    shutil.rmtree(data)
    copy.rename(data)
    await one.kafka.start()
    # Taken by ingest after the cut, at the places of the two that Kafka lost; the log passes its old end.
    await one.scene().publish(
        a_log(
            an_event(11, request_id=R1, data={"a": 3, "late": 1}),
            an_event(12, request_id=R3, data={"late": 2}),
            an_event(13, request_id=R1, data={"late": 3}),
        )
    )
    with pytest.raises(ContinuityError, match="afterword recover"):
        await one.opened(scene)
    scene.release()
    code, told = await one.call("verify", "--all")
    assert code == 1
    assert "afterword rebuild --" not in told
    assert "afterword recover" in told

    command = Recovery(one)
    for step in STEPS:
        await command.killed_at(step)
    assert "Generation 2 is open" in await command.completed()
    assert "nothing is to be done" in await command.completed()
    await one.merge(one.scene(2))
    await one.store(6, 2)
    assert await one.rows() == {
        R1: {"a": 3, "lost": 1, "late": 3},
        R2: {"lost": 2},
        R3: {"late": 2},
    }
    code, told = await one.call("verify", "--all")
    assert code == 0, told
    assert "nothing is to be done" in (await one.call("recover"))[1]
    # The new generation lost records, too, and others have passed all positions.
    held = HeldPosition("stored in ClickHouse", Topology(2).state.name, 0, 1)
    refused = [ContinuityProblem(DIFFERS, "It is of another log.", "run `afterword recover`", held)]
    await refusals.write(one.sink, "sink", 2, refused)
    assert "Generation 3 of the topics" in (await one.call("recover"))[1]


class Recovery:
    """`afterword recover`, which may be killed at any step."""

    def __init__(self, installation: Installation) -> None:
        self._environ, self._log = installation.variables, installation.home / "recover.log"
        self._log.touch()

    async def killed_at(self, step: str) -> None:
        """Run it until it says that it begins a step, and kill it."""
        before = len(self._log.read_text())
        process = self._start()
        try:
            await eventually(lambda: step in self._log.read_text()[before:], within=120)
        finally:
            process.kill()
            process.join()

    async def completed(self) -> str:
        """Run it to its end; what it said."""
        before = len(self._log.read_text())
        process = self._start()
        try:
            await eventually(lambda: not process.is_alive(), within=120)
            assert process.exitcode == 0, self._log.read_text()
            return self._log.read_text()[before:]
        finally:
            process.kill()
            process.join()

    def _start(self) -> BaseProcess:
        preload = "services.cli.recover"
        return start(["recover", "--yes"], self._environ, self._log, preload=preload)


async def test_a_lost_state_topic_is_filled_and_what_was_not_stored_yet_is_carried_over(
    installation: Installation,
) -> None:
    """From events in the table, and from the log: merged or not, stored or not, poison too."""
    one = installation
    scene = one.scene()
    await one.merge(scene, an_event(0, request_id=R1, data={"a": 1}))
    await one.store(1)
    await one.merge(scene, an_event(1, request_id=R2, data={"merged": 1}))
    poison = ARecord(0, event_key("default", R3), b"poison")
    await scene.publish([*a_log(an_event(2, request_id=R1, data={"waits": 1})), poison])
    await delete_topic(scene.kafka, Topology().state)

    code, told = await one.call("rebuild", "--state")
    assert (code, "`afterword recover`" in told) == (1, True)
    assert (await one.call("recover", "--yes"))[0] == 0
    following = one.scene(2)
    await one.merge(following)
    await one.store(3, 2)
    assert await one.rows() == {R1: {"a": 1, "waits": 1}, R2: {"merged": 1}}
    assert [letter.reason for letter in await following.letters()] == ["malformed_event"]
    places = await tables.rows(one.sink, f"SELECT version FROM {FEEDBACK_EVENTS} FINAL ORDER BY version")
    assert [split_version(version)[0] for (version,) in places] == [0, 0, 0]
    code, told = await one.call("verify", "--all")
    assert code == 0, told


async def test_states_that_began_with_nothing_are_found_and_brought_back(installation: Installation) -> None:
    """A generation that was made empty: the merger refuses it, and verify finds what came of it."""
    one = installation
    await one.merge(one.scene(), an_event(0, request_id=R1, data={"rating": 5}))
    await one.store(1)
    empty = one.kafka.settings.replace(kafka_topic_generation=2)
    await create_topics(empty, Topology(2))
    client = await connect(one.sink)
    async with admin(empty, "test") as asked:
        await record_deployment(client, Recorded(2, await cluster_id(asked), 4))
    await client.close()
    scene = one.scene(2)
    with pytest.raises(ContinuityError, match="lacks the states"):
        await one.opened(scene)
    scene.release()

    await scene.publish(a_log(an_event(1, request_id=R1, data={"tag": "late"})))
    partition = await scene.open(await scene.setup(2))  # one that cannot ask ClickHouse
    await partition.merge(await scene.events())
    await scene.end(partition)
    scene.release()
    await one.store(2, 2)
    assert await one.rows() == {R1: {"tag": "late"}}
    code, told = await one.call("verify", "--all")
    assert (code, "keys_vanished" in told, "afterword rebuild --state" in told) == (1, True, True), told
    assert (await one.call("rebuild", "--state", "--yes"))[0] == 0
    await one.store(2, 2)
    assert await one.rows() == {R1: {"rating": 5, "tag": "late"}}
    assert (await one.call("verify", "--all"))[0] == 0
