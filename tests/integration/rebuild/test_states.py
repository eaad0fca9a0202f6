"""The state topic put right from the events, on a real Kafka and a real ClickHouse engine."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ProducerFenced

from schemas.identity import event_key
from schemas.tables import FEEDBACK_EVENTS
from schemas.topics import Topology
from services.runtime.kafka import client_options
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.settings import SinkSettings
from tests.support import tables as sql
from tests.support.eventually import eventually
from tests.support.merger import R1, R2, R3, Scene
from tests.support.merging import a_log, an_event
from tests.support.rebuilding import delete_records, environ, rebuild
from tests.support.sink_runs import migrated, running
from tests.support.state_log import write


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


async def test_states_that_are_missing_damaged_or_wrong_are_written_anew(
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


async def test_a_state_topic_that_is_lost_is_made_in_a_new_generation(
    settings: SinkSettings,
    kafka_settings: KafkaSettings,
    clickhouse_settings: ClickHouseSettings,
    generations: Iterator[int],
    scene: Scene,
    tmp_path: Path,
) -> None:
    """Every state is there again, at its old versions; what nobody merged yet is merged with it."""
    bodies = [an_event(n, request_id=one, data={"n": n}) for n, one in enumerate((R1, R2, R1, R3))]
    await scene.publish(a_log(*bodies))
    partition = await scene.open()
    await partition.merge(await scene.events())
    right = public(await scene.rows())
    await history(settings, 4)
    newer = kafka_settings.replace(kafka_topic_generation=next(generations))
    following = await migrated(newer, clickhouse_settings)
    told = await rebuild(environ(following, tmp_path), "--state", "--yes")
    assert "3 states written" in told
    assert await latest(following) == right
    assert "3 states in" in await rebuild(environ(following, tmp_path), "--state")


async def latest(settings: SinkSettings) -> dict[bytes, bytes]:
    """Return the latest committed record of each key of the state topic."""
    topic = Topology(settings.kafka_topic_generation).state
    places = [TopicPartition(topic.name, number) for number in range(4)]
    consumer = AIOKafkaConsumer(**client_options(settings, "test"), isolation_level="read_committed")
    consumer.assign(places)
    await consumer.start()
    found: dict[bytes, bytes] = {}
    try:
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found |= {record.key: record.value for record in records}
    finally:
        await consumer.stop()
    return found
