"""Replays on a real Kafka and a real ClickHouse engine, with the merger and the sink that run there."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from schemas.identity import event_key
from schemas.tables import DEAD_LETTERS, FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import Topology
from services.local.processes import python_module
from services.merger.partition import OwnedPartition
from services.operations.dlq import replay
from services.operations.dlq.core.dead_letter import DeadLetterId
from services.operations.dlq.core.decisions import PlannedReplay, ReplayContext
from services.operations.dlq.core.statements import DeadLetterSelection
from services.operations.dlq.tables import DeadLetterTables
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables as sql
from tests.support.eventually import eventually
from tests.support.merger.partitions import R1, R2, R3, Scene, truth_of
from tests.support.merger.records import ARecord, a_log, a_record, an_event
from tests.support.merger.state_log import write
from tests.support.merger.states import shown
from tests.support.operations.dead_letters import dlq
from tests.support.sink.doubles import EVENT, state
from tests.support.sink.runs import is_stored, running
from tests.support.stack.restartable import Program

HALF = "x" * 500_000


async def merged(
    scene: Scene, partition: OwnedPartition, settings: SinkSettings, *, judged: bool = True
) -> None:
    """Merge what is in the log, wait until the sink has stored all that comes of it, and judge the rows."""
    records = await scene.events()
    await partition.merge(records)
    letters = len(await scene.letters())

    async def is_there() -> bool:
        ((count,),) = await sql.rows(settings, f"SELECT count() FROM {DEAD_LETTERS} FINAL")
        return bool(count == letters) and await is_stored(settings)

    await eventually(is_there, within=30)
    if not judged:
        return  # the oracle takes its time over large rows, and over hundreds of events of one request
    truth = truth_of(scene.topology, records)
    assert truth.rows == {key: shown(row) for key, row in (await scene.rows()).items() if row is not None}


async def data(settings: SinkSettings) -> dict[str, Any]:
    """Return what SQL says of each request."""
    found = await sql.rows(settings, f"SELECT request_id, data FROM {FEEDBACK} WHERE tenant = 'default'")
    return {request_id: json.loads(text) for request_id, text in found}


async def ids(settings: SinkSettings) -> dict[str, str]:
    """Return the id of the dead letter of each request."""
    found = await sql.rows(
        settings, f"SELECT request_id, dlq_topic, dlq_partition, dlq_offset FROM {DEAD_LETTERS} FINAL"
    )
    return {request_id: str(DeadLetterId(*place)) for request_id, *place in found}


async def replayed(settings: SinkSettings) -> int:
    """Return how many dead letters are marked as replayed."""
    ((count,),) = await sql.rows(
        settings, f"SELECT countIf(replayed_at IS NOT NULL) FROM {DEAD_LETTERS} FINAL"
    )
    return int(count)


async def test_a_replay_takes_its_original_place_behind_newer_values(
    settings: SinkSettings, scene: Scene, variables: dict[str, str], tmp_path: Path
) -> None:
    """Corrected, as a new event, and as it was: only keys that nothing newer named appear; twice is once."""
    large = [an_event(n, request_id=R3, data={f"k{n}": HALF}) for n in range(8)]
    first = an_event(20, request_id=R2, idempotent=True, data={"a": 0})
    await scene.publish(
        [
            ARecord(0, event_key("default", R1), b'{"data": {"a": "poison"'),
            *a_log(
                an_event(10, request_id=R1, data={"a": "newer"}),
                first,
                {**first, "data": {"a": 1, "b": 1}},
                an_event(21, request_id=R2, data={"a": 2}),
                *large,
                an_event(8, request_id=R3, data={"k8": HALF, "shared": "old"}),
                an_event(9, request_id=R3, data={"k0": "small", "shared": "new"}),
            ),
        ]
    )
    partition = await scene.open()
    async with running(settings):
        await merged(scene, partition, settings, judged=False)
        before, place = await data(settings), await ids(settings)
        listed = await dlq(variables, "list")
        assert all(one in listed for one in place.values())
        assert "malformed_event" in listed

        planned = await dlq(variables, "replay", expect=1)
        assert "1 to the events topic, 2 skipped" in planned
        assert "dry run" in planned
        assert len(await scene.events()) == 15

        body = tmp_path / "body.json"
        body.write_text(json.dumps(an_event(99, request_id=R1, data={"a": "corrected", "b": "corrected"})))
        await dlq(variables, "replay", place[R1], "--body", body, "--yes")
        await dlq(variables, "replay", "--as-new-events", "--yes")
        assert await replayed(settings) == 3
        await merged(scene, partition, settings, judged=False)
        after = await data(settings)
        assert after[R1] == {"a": "newer", "b": "corrected"}
        assert after[R2] == {"a": 2, "b": 1}
        assert after[R3] == {**before[R3], "k8": HALF}

        await dlq(variables, "replay", *place.values(), "--as-new-events", "--yes")
        await merged(scene, partition, settings)
        assert len(await scene.events()) == 21
        assert await data(settings) == after
        assert len(await scene.letters()) == 3

        body.write_text(json.dumps(an_event(98, request_id=R1, data={"a": "another"})))
        assert "with another body" in await dlq(
            variables, "replay", place[R1], "--body", body, "--yes", expect=1
        )


async def test_what_comes_back_is_a_new_dead_letter_and_the_old_one_gives_way(
    settings: SinkSettings, scene: Scene, variables: dict[str, str]
) -> None:
    """A replay that is refused again is seen, and only the latest try of a place can be replayed."""
    await scene.publish(a_log(*(an_event(n, request_id=R1, data={f"k{n}": HALF}) for n in range(9))))
    partition = await scene.open()
    async with running(settings):
        await merged(scene, partition, settings, judged=False)
        old = (await ids(settings))[R1]
        assert "it fails again if its row is too large" in await dlq(variables, "replay", "--yes")
        await merged(scene, partition, settings, judged=False)

        assert "1 dead letter" in await dlq(variables, "list", "--reason", "row_too_large")
        assert f"it came back as {Topology(settings.kafka_topic_generation).events_dlq.name}/0/" in await dlq(
            variables, "replay", old, expect=1
        )
        await scene.publish(a_log(an_event(9, request_id=R1, data={"k0": 1})))
        await partition.merge(await scene.events())
        await dlq(variables, "replay", "--yes")
        await merged(scene, partition, settings)

    assert (await data(settings))[R1]["k8"] == HALF


async def test_rows_of_the_sink_go_back_to_clickhouse_with_their_revision(
    settings: SinkSettings, variables: dict[str, str]
) -> None:
    """Never to a topic: a row that is missing appears, one that is newer stays, one refused again is told."""
    topology = Topology(settings.kafka_topic_generation)
    key = event_key("acme", "chat/1")
    await forbid(settings, FEEDBACK_STATE, "startsWith(request_id, 'bad')")
    await forbid(settings, FEEDBACK_EVENTS, "1")
    old = [state(name, data={"rating": 1}) for name in ("bad-1", "bad-2")]
    async with running(settings):
        await write(settings, topology.state, [(one.key, one.value) for one in old])
        await write(settings, topology.events, [(key, json.dumps(EVENT).encode())])
        await eventually(lambda: there(settings, DEAD_LETTERS, 3), within=30)
        refused = await dlq(variables, "replay", "--yes", expect=1)
        assert refused.count("ClickHouse refuses it again") == 3
        assert await replayed(settings) == 0

        for table in (FEEDBACK_STATE, FEEDBACK_EVENTS):
            await sql.run(settings, f"ALTER TABLE {table} DROP CONSTRAINT never")
        newer = state("bad-2", data={"rating": 5})
        await write(settings, topology.state, [(newer.key, newer.value)])
        await eventually(lambda: there(settings, FEEDBACK_STATE, 1), within=30)

    planned = await dlq(variables, "replay", "--stage", "sink")
    assert f"1 to {FEEDBACK_EVENTS}, 2 to {FEEDBACK_STATE}" in planned
    for _ in range(2):
        await dlq(variables, "replay", "--stage", "sink", "--state", "all", "--yes")

    assert await replayed(settings) == 3
    assert await sql.rows(settings, f"SELECT request_id, rating FROM {FEEDBACK} ORDER BY request_id") == [
        ("bad-1", 1.0),
        ("bad-2", 5.0),
    ]
    assert await sql.rows(
        settings,
        f"SELECT request_id, version = log_offset, toString(received_at) FROM {FEEDBACK_EVENTS} FINAL",
    ) == [("chat/1", 1, "2026-11-22 08:00:00.123456")]


async def forbid(settings: SinkSettings, table: str, condition: str) -> None:
    """Have a table refuse rows, as one that does not fit them would."""
    await sql.run(settings, f"ALTER TABLE {table} ADD CONSTRAINT never CHECK NOT ({condition})")


async def there(settings: SinkSettings, table: str, count: int) -> bool:
    """Return whether a table has so many rows."""
    ((found,),) = await sql.rows(settings, f"SELECT count() FROM {table} FINAL")
    return bool(found == count)


async def conflicts(scene: Scene, count: int) -> None:
    """Publish one event, and so many with other bodies under its Idempotency-Key."""
    first = an_event(0, request_id=R1, idempotent=True, data={"first": True})
    others = [{**first, "data": {f"k{n}": n, "last": n}} for n in range(count)]
    newest = an_event(1, request_id=R1, data={"first": False, "k7": "newer"})
    await scene.publish(a_log(first, *others, newest))


async def test_a_replay_that_was_killed_continues(
    settings: SinkSettings, scene: Scene, variables: dict[str, str], tmp_path: Path
) -> None:
    """SIGKILL after some are marked: the same call does the rest, and the row is that of the log's order."""
    count = 3 * replay.BATCH_LETTERS
    await conflicts(scene, count)
    partition = await scene.open()
    command = python_module(
        "services.cli", "dlq", "replay", "--as-new-events", "--yes", environment={**os.environ, **variables}
    )

    async def is_marked() -> bool:
        return await replayed(settings) > 0

    async with running(settings):
        await merged(scene, partition, settings, judged=False)
        killed = Program(lambda: command, is_marked, tmp_path / "replay.log")
        await killed.start()
        assert await killed.kill() in (-signal.SIGKILL, 0)
        await dlq(variables, "replay", "--as-new-events", "--yes")
        await merged(scene, partition, settings, judged=False)

    assert await replayed(settings) == count
    assert await data(settings) == {R1: expected(count)}


def expected(count: int) -> dict[str, Any]:
    """Return what the events of `conflicts` come to when each of them counts at its place."""
    return {
        **{f"k{n}": n for n in range(count)},
        "last": count - 1,
        "first": False,
        "k7": "newer",
    }


class Dying(DeadLetterTables):
    """ClickHouse that is gone when marks are written."""

    async def mark(self, statement: Statement) -> None:
        """Fail."""
        raise ConnectionError(f"killed before {statement.sql}")


async def copied(settings: SinkSettings, count: int) -> bool:
    """Return whether the history has so many events that are replays."""
    ((found,),) = await sql.rows(
        settings, f"SELECT count() FROM {FEEDBACK_EVENTS} FINAL WHERE log_offset > version"
    )
    return bool(found == count)


async def test_what_was_written_and_not_marked_is_written_again_and_changes_nothing(
    settings: SinkSettings, scene: Scene, variables: dict[str, str], tmp_path: Path
) -> None:
    """The moment between Kafka's answer and the mark; nothing else can take the place meanwhile."""
    await conflicts(scene, 5)
    partition = await scene.open()
    ground = ReplayContext(
        generation=settings.kafka_topic_generation,
        partitions={settings.kafka_topic_generation: 4},
        as_new_events=True,
    )
    rows = ClickHouseWriter(settings, 30)
    async with running(settings), replay.replay_producer(settings) as events:
        await merged(scene, partition, settings)
        client = await connect(settings)
        store = Dying(client, settings)
        with pytest.raises(ConnectionError):
            await replay.replay(
                store,
                replay.planned_replays(store, DeadLetterSelection(), ground),
                events,
                rows,
                nobody_hears,
            )
        await client.close()
        assert (len(await scene.events()), await replayed(settings)) == (12, 0)
        await merged(scene, partition, settings)
        once = await data(settings)
        await eventually(lambda: copied(settings, 5), within=30)
        body = tmp_path / "body.json"
        body.write_text(json.dumps(an_event(99, request_id=R1, data={"a": "too late"})))
        one = (await ids(settings))[R1]
        assert "replayed unchanged" in await dlq(variables, "replay", one, "--body", body, "--yes", expect=1)
        await dlq(variables, "replay", "--as-new-events", "--yes")
        await merged(scene, partition, settings)

    assert (len(await scene.events()), await replayed(settings)) == (17, 5)
    assert await data(settings) == once == {R1: expected(5)}


def nobody_hears(done: Sequence[DeadLetterId], refused: Sequence[PlannedReplay], others: int) -> None:
    """Show nothing."""


def swept() -> float:
    """Return how many sweeps after erasures the sinks of this process have begun."""
    return REGISTRY.get_sample_value("sink_chore_runs_total", {"chore": "sweep"}) or 0


async def test_what_was_erased_stays_erased(
    settings: SinkSettings, scene: Scene, variables: dict[str, str]
) -> None:
    """A dead letter from before an erase is left, and said to be; one from after it is replayed."""
    first = an_event(0, request_id=R1, idempotent=True, data={"a": 1})
    await scene.publish(a_log(first, {**first, "data": {"a": 2}}))
    partition, sweeps = await scene.open(), swept()
    async with running(settings):
        await merged(scene, partition, settings)
        # The next sweep, which would remove the dead letter, is a minute away.
        await eventually(lambda: swept() > sweeps)
        await scene.publish([a_record(2, an_event(1, request_id=R1, op="erase"))])
        await merged(scene, partition, settings)
        await eventually(lambda: there(settings, FEEDBACK_EVENTS, 3), within=30)

        assert "erased later" in await dlq(variables, "replay", "--as-new-events", "--yes", expect=1)
    assert len(await scene.events()) == 3


async def test_another_kafka_is_refused(settings: SinkSettings, variables: dict[str, str]) -> None:
    """A version means a place in one log: the tables say which Kafka that is."""
    generation = settings.kafka_topic_generation
    await sql.insert(
        settings, "deployments", [{"generation": generation, "cluster_id": "another", "partitions": 4}]
    )
    assert "not the one that these tables belong to" in await dlq(variables, "replay", expect=1)
