"""`afterword verify` on a real Kafka and a real ClickHouse engine, beside the merger and the sink."""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from schemas.identity import event_key, version_of
from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import EVENTS_ROUTE, Topology
from services.merger.partition import OwnedPartition
from services.runtime.kafka.clients import client_options
from services.sink.core.rows import position_line
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables as sql
from tests.support.eventually import eventually
from tests.support.merger.partitions import Scene, commit, delete_before, ids_in
from tests.support.merger.records import ARecord, a_log, an_event
from tests.support.merger.state_log import write
from tests.support.operations.command import Ended, afterword
from tests.support.sink.runs import is_stored, running

IDS = list(islice(ids_in(0), 8))


async def verified(variables: Mapping[str, str], *arguments: str, expect: int) -> dict[str, Any]:
    """Call `afterword verify --json`, and return what it printed."""
    ended: Ended = await asyncio.to_thread(afterword, "verify", "--json", *arguments, environ=variables)
    assert ended.code == expect, ended.out + ended.err
    found: dict[str, Any] = orjson.loads(ended.out)
    return found


def found(report: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return of each kind of difference what it is about, and what mends it."""
    keys: dict[str, list[str]] = {}
    for one in report["differences"]:
        keys.setdefault(one["kind"], []).extend(example["key"] for example in one["examples"])
    return {one["kind"]: (" ".join(keys[one["kind"]]), one["mend"]) for one in report["differences"]}


async def merged(scene: Scene, partition: OwnedPartition, settings: SinkSettings) -> None:
    """Merge what is in the log, and wait until the sink has stored everything."""
    records = await scene.events()
    await partition.merge(records)
    topology = Topology(settings.kafka_topic_generation)
    letters = len(await scene.letters())

    async def is_there() -> bool:
        ((count,),) = await sql.rows(settings, f"SELECT count() FROM {DEAD_LETTERS} FINAL")
        ((upto,),) = await sql.rows(
            settings,
            f"SELECT max(position) FROM {SINK_POSITIONS} FINAL"
            f" WHERE topic = '{topology.events.name}' AND partition = 0",
        )
        return bool(count >= letters and upto == len(records)) and await is_stored(settings)

    await eventually(is_there, within=120)


def some_events() -> list[ARecord]:
    """Return events of eight requests in partition 0, one of them no event, one a conflict."""
    once = an_event(50, request_id=IDS[7], idempotent=True, data={"rating": 1})
    return [
        ARecord(0, event_key("default", IDS[0]), b'{"data": {"a": "poison"'),
        *a_log(
            *(
                an_event(
                    n,
                    request_id=one,
                    data={"n": n, "é": [1e-05]},
                    item_id=f"é-{n}",
                    at=f"2026-11-2{n}T08:00Z",
                )
                for n, one in enumerate(IDS[:7])
            ),
            *(an_event(10 + n, request_id=one, request={"model": "m"}) for n, one in enumerate(IDS[:7])),
            an_event(30, request_id=IDS[6], op="retract"),
            once,
            {**once, "data": {"rating": 2}},
        ),
    ]


async def test_what_is_tampered_with_in_clickhouse_is_found_and_fixed(
    settings: SinkSettings, scene: Scene, variables: dict[str, str]
) -> None:
    """Rows, events and dead letters, gone, changed or made up; the commands that are named mend it."""
    await scene.publish(some_events())
    partition = await scene.open()
    async with running(settings):
        await merged(scene, partition, settings)
        clean = await verified(variables, "--all", expect=0)
        assert clean["compared"]["keys"] == 8
        assert clean["compared"]["events_checked"] == 18
        assert clean["compared"]["dead_letters"] == 2

        base = version_of(scene.topology.generation, 0)
        keyed = "DELETE WHERE tenant = 'default' AND request_id ="
        for table, condition in (
            (FEEDBACK_STATE, f"{keyed} '{IDS[1]}'"),
            (FEEDBACK_EVENTS, f"DELETE WHERE log_offset = {base + 3}"),
            (FEEDBACK_EVENTS, f"UPDATE data = '{{}}' WHERE log_offset = {base + 4}"),
            (FEEDBACK_EVENTS, f"UPDATE item_id = '' WHERE log_offset = {base + 5}"),
            (FEEDBACK_EVENTS, f"UPDATE at = NULL WHERE log_offset = {base + 6}"),
            (FEEDBACK_STATE, f"UPDATE data = '{{\"n\":9}}' WHERE request_id = '{IDS[4]}'"),
            (DEAD_LETTERS, "DELETE WHERE reason = 'idempotency_conflict'"),
        ):
            await sql.run(settings, f"ALTER TABLE {table} {condition} SETTINGS mutations_sync = 2")
        ((old,),) = await sql.rows(settings, f"SELECT min(revision) FROM {FEEDBACK_STATE}")
        await sql.insert(
            settings, FEEDBACK_STATE, [sql.state_row("made-up", old), sql.state_row("later", base + 2**40)]
        )
        report = await verified(variables, expect=1)
        differences = found(report)

        rebuild = "afterword rebuild --table state --tenant default"
        assert differences["row_missing"] == (f"default/{IDS[1]}", rebuild)
        assert differences["row_changed"] == (f"default/{IDS[4]}", rebuild)
        assert set(differences["row_invented"][0].split()) == {"default/made-up", "default/later"}
        events = "afterword rebuild --table events --tenant default"
        assert differences["event_missing"] == (f"default/{IDS[2]}", events)
        changed, mend = differences["event_changed"]
        assert (set(changed.split()), mend) == ({f"default/{one}" for one in IDS[3:6]}, events)
        assert differences["letter_missing"] == (f"default/{IDS[7]}", "afterword rebuild --table dlq")
        assert len(differences) == 6

        for _, mend in dict.fromkeys(differences.values()):
            await mended(variables, mend)
        assert found(await verified(variables, "--all", expect=0)) == {}


async def mended(variables: Mapping[str, str], mend: str) -> None:
    """Call a command that was named."""
    words = mend.split()
    assert words.pop(0) == "afterword"
    ended = await asyncio.to_thread(afterword, *words, "--yes", environ=variables)
    assert ended.code == 0, ended.out + ended.err


async def test_states_that_differ_from_the_log_are_found_and_fixed(
    settings: SinkSettings, scene: Scene, variables: dict[str, str]
) -> None:
    """One that is gone, one with other data, and events that the merger was moved past."""
    await scene.publish(some_events())
    partition = await scene.open()
    async with running(settings):
        await merged(scene, partition, settings)
        rows = await scene.rows()
        other = orjson.loads(rows[event_key("default", IDS[3])] or b"")
        other["data"]["n"] = 99
        await scene.end(partition)
        scene.release()
        await write(
            settings,
            scene.topology.state,
            [(event_key("default", IDS[2]), None), (event_key("default", IDS[3]), orjson.dumps(other))],
            transactional=True,
        )
        records = await scene.publish(a_log(an_event(60, request_id=IDS[5], data={"late": 1})))
        await commit(scene.kafka, scene.topology, len(records))
        await eventually(lambda: is_stored(settings), within=60)
        differences = found(await verified(variables, "--all", expect=1))

        mend = "afterword rebuild --state --tenant default"
        assert differences == {
            "state_missing": (f"default/{IDS[2]}", mend),
            "state_differs": (f"default/{IDS[3]}", mend),
            "never_merged": (f"default/{IDS[5]}", mend),
        }
        await mended(variables, mend)
        await eventually(lambda: is_stored(settings), within=60)
        assert found(await verified(variables, "--all", expect=0)) == {}


async def test_gaps_and_positions_that_do_not_fit_are_found(
    settings: SinkSettings, scene: Scene, variables: dict[str, str]
) -> None:
    """A sink that was moved past events, an aborted stretch, and a log that was cut before it was read."""
    events = scene.topology.events
    await scene.publish(some_events()[:6])
    aborted = AIOKafkaProducer(**client_options(settings, "tests"), transactional_id=f"aborts-{events.name}")
    await aborted.start()
    await aborted.begin_transaction()
    await aborted.send_and_wait(events.name, b"never", b"default/r1", partition=0)
    await aborted.abort_transaction()
    await aborted.stop()
    await scene.publish(some_events()[6:9])
    waiting = await verified(variables, expect=1)
    assert waiting["on_its_way"]["merger"] == 11
    assert {one["kind"]: one["offsets"] for one in waiting["differences"]} == {"hole": [[6, 8]]}

    line = position_line(EVENTS_ROUTE, events.name, 0, 9, 0)
    await sql.insert(settings, SINK_POSITIONS, [orjson.loads(line)])
    report = await verified(variables, expect=1)
    (missing,) = (one for one in report["differences"] if one["kind"] == "event_missing")
    assert missing["offsets"] == [[1, 6], [8, 9]]
    assert missing["mend"] == "afterword rebuild --table events --tenant default"

    await commit(scene.kafka, scene.topology, 2)
    await delete_before(scene.kafka, events, 4)
    report = await verified(variables, expect=1)
    mends = [one["mend"] for one in report["differences"] if one["kind"] == "position"]
    assert any("afterword merger accept-loss" in mend for mend in mends), mends

    await commit(scene.kafka, scene.topology, 1_000)
    report = await verified(variables, expect=1)
    (told,) = (one for one in report["differences"] if one["kind"] == "position")
    assert "beyond the log's end" in told["examples"][0]["detail"]


async def test_live_traffic_gives_no_false_alarm(
    settings: SinkSettings, scene: Scene, variables: dict[str, str]
) -> None:
    """Events are published, merged and stored all the while."""
    partition = await scene.open()
    ended = asyncio.Event()

    async def traffic() -> None:
        number = 0
        while not ended.is_set():
            several = [
                an_event(n, request_id=IDS[n % 8], data={f"k{n % 5}": n}) for n in range(number, number + 40)
            ]
            await partition.merge((await scene.publish(a_log(*several)))[number:])
            number += 40

    async with running(settings), asyncio.TaskGroup() as group:
        group.create_task(traffic())
        for arguments in (("--all",), ("--all",), ("--from", "1h")):
            assert (await verified(variables, *arguments, expect=0))["differences"] == []
        ended.set()
