"""The state topic put right from the events, on a real Kafka and a real ClickHouse engine."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiokafka.errors import ProducerFenced

from schemas.identity import event_key
from schemas.tables import FEEDBACK_EVENTS
from schemas.topics import Topology
from services.runtime.kafka.clients import consumer
from services.runtime.settings import KafkaSettings
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables as sql
from tests.support.eventually import eventually
from tests.support.merger.partitions import R1, R2, R3, Scene
from tests.support.merger.records import a_log, an_event
from tests.support.merger.state_log import write
from tests.support.operations.command import afterword
from tests.support.operations.rebuild import delete_records, rebuild
from tests.support.sink.runs import running


@pytest.fixture
async def scene(kafka_settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Scene]:
    """The same topics as a merger sees them; what it opened is closed when it ends."""
    scene = Scene(kafka_settings, tmp_path)
    yield scene
    await scene.close()


async def history(settings: SinkSettings, count: int) -> None:
    """Run a sink until it has stored so many events."""

    async def there() -> bool:
        ((rows,),) = await sql.rows(settings, f"SELECT count() FROM {FEEDBACK_EVENTS} FINAL")
        return bool(rows == count)

    async with running(settings):
        await eventually(there, within=60)


def public(rows: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
    """Return rows without those that have none."""
    return {key: row for key, row in rows.items() if row is not None}


async def test_states_that_are_missing_damaged_or_wrong_are_rewritten(
    settings: SinkSettings, variables: dict[str, str], scene: Scene
) -> None:
    """From history before the log's start, and the log; a merger is fenced, and its copy follows."""
    topology = Topology(settings.kafka_topic_generation)
    bodies = [an_event(n, request_id=R1, data={f"k{n}": n}) for n in range(4)]
    bodies += [
        an_event(10, request_id=R2, data={"a": 1}, idempotent=True),
        an_event(11, request_id=R3, data={"a": 2}),
    ]
    await scene.publish(a_log(*bodies, *bodies[4:]))
    partition = await scene.open()
    await partition.merge(await scene.events())
    right = public(await scene.rows())
    await history(settings, 8)
    await delete_records(settings, topology.events, {0: 5})
    assert "3 states" in await rebuild(variables, "--state")

    key = {name: event_key("default", name) for name in (R1, R2, R3)}
    wrong = (right[key[R3]] or b"").replace(b'"a":2', b'"a":3')
    assert wrong != right[key[R3]]
    await write(settings, topology.state, [(key[R1], None), (key[R2], b'{"tenant":'), (key[R3], wrong)])
    told = await rebuild(variables, "--state")
    assert "1 are missing" in told
    assert "1 are no states" in told
    assert "1 differ" in told
    assert "3 states written" in await rebuild(variables, "--state", "--yes")
    assert await scene.rows() == right

    with pytest.raises(ProducerFenced):
        await partition.merge(await scene.publish(a_log(an_event(20, request_id=R1, data={"new": 1}))))
    await scene.end(partition)
    scene.release()
    again = await scene.open()
    assert again._store.get([*right]) == right
    await again.merge(await scene.events())
    assert b'"k0":0' in (public(await scene.rows())[key[R1]] or b"")


async def test_events_of_a_damaged_state_wait_and_are_in_their_place_after_the_fix(
    settings: SinkSettings, variables: dict[str, str], scene: Scene
) -> None:
    """Other requests continue; the command that the dead letter names fixes it; replays add nothing twice."""
    topology = Topology(settings.kafka_topic_generation)
    await scene.publish(
        a_log(*(an_event(n, request_id=one, data={"a": n}) for n, one in enumerate((R1, R2))))
    )
    partition = await scene.open()
    await partition.merge(await scene.events())
    await scene.end(partition)
    scene.release()
    key, right = event_key("default", R1), await scene.rows()
    for number, bad in enumerate((b"garbage", right[event_key("default", R2)])):
        await write(settings, topology.state, [(key, bad)])
        before = len(await scene.events())
        partition = await scene.open()
        bodies = [an_event(9, request_id=one, data={f"b{number}": 1}) for one in (R1, R2, R1)]
        await partition.merge((await scene.publish(a_log(*bodies)))[before:])
        await scene.end(partition)
        scene.release()
    assert [letter.reason for letter in await scene.letters()] == ["damaged_state"] * 4
    rows = await scene.rows()
    assert b'"b1":1' in (rows[event_key("default", R2)] or b"")

    await history(settings, 8)
    assert "1 are no states" in await rebuild(variables, "--state", "--yes")
    ended = await asyncio.to_thread(
        afterword, "dlq", "replay", "--reason", "damaged_state", "--yes", environ=variables
    )
    assert ended.code == 0, ended.out + ended.err
    partition = await scene.open()
    await partition.merge(await scene.events())
    mended = (await scene.rows())[key] or b""
    assert all(text in mended for text in (b'"a":0', b'"b0":1', b'"b1":1'))
    assert len(await scene.letters()) == 4


async def test_a_merger_that_was_killed_is_waited_for_and_a_running_one_refused(
    settings: SinkSettings, variables: dict[str, str], scene: Scene
) -> None:
    """A killed process stays in its group until its session ends; nothing is written beside a running one."""
    topology = Topology(settings.kafka_topic_generation)
    await scene.publish(a_log(an_event(1, request_id=R1, data={"a": 1})))
    partition = await scene.open()
    await partition.merge(await scene.events())
    await scene.end(partition)
    scene.release()
    member = consumer(settings, "merger", group_id=topology.merger_group)
    member.subscribe([topology.events.name])
    await member.start()
    refused = await rebuild(variables, "--state", expect=1)
    assert "1 merger is running: stop every merger first" in refused

    waiting = asyncio.create_task(rebuild(variables, "--state"))
    await member.stop()
    assert "1 states" in await waiting
