"""Erased rows are replaced by nothing once nothing older can come back."""

from schemas.identity import version_of
from schemas.topics import DAY_MS
from services.merger.context import Setup
from services.merger.core.state import older_than
from services.merger.partition import OwnedPartition
from services.merger.startup_check import retention
from services.pipeline.survey import admin
from tests.support.merger.partitions import R1, R2, R3, Scene, configure
from tests.support.merger.records import a_log, an_event

KEYS = [b"default/" + name.encode() for name in (R1, R2, R3)]


async def erased(scene: Scene, setup: Setup) -> tuple[OwnedPartition, int]:
    """Erase R1 and R2, of which R2 lives on; return the partition and the time of the latest event."""
    log = a_log(
        an_event(0, request_id=R1),
        an_event(1, request_id=R3),
        an_event(2, request_id=R1, op="erase"),
        an_event(3, request_id=R2, op="erase"),
        an_event(4, request_id=R2),
    )
    records = await scene.publish(log)
    partition = await scene.open(setup)
    await partition.merge(records)
    return partition, records[-1].timestamp


async def test_a_row_is_forgotten_when_its_erase_is_old_enough(scene: Scene) -> None:
    """Not before; and rows that live, or live again, never."""
    partition, last = await erased(scene, await scene.setup(1))

    assert await partition.forget(last - 3_600_000) == 0
    assert await partition.forget(last + 1) == 1
    assert await partition.forget(last + 1) == 0
    rows = await scene.rows()
    assert [rows[key] is None for key in KEYS] == [True, False, False]


async def test_a_machine_that_only_read_the_rows_forgets_as_well(scene: Scene) -> None:
    """It knows the time of the erase from the row's stamp."""
    _, last = await erased(scene, await scene.setup(1))
    second = await scene.open(await scene.setup(2))

    assert await second.forget(last + 1) == 1


async def test_a_forgotten_row_starts_over(scene: Scene) -> None:
    """Its key is as good as new."""
    partition, last = await erased(scene, await scene.setup())
    await partition.forget(last + 1)
    records = await scene.publish(a_log(an_event(5, request_id=R1, data={"a": 5})))
    await partition.merge(records)

    assert b'"data":{"a":5}' in ((await scene.rows())[KEYS[0]] or b"")


async def test_retention_is_read_from_the_topics(scene: Scene) -> None:
    """Of the log and of the dead letters, whichever keeps its records longer; without an end, never."""
    topology = scene.topology
    await configure(scene.kafka, topology.events, retention_ms="1000")
    await configure(scene.kafka, topology.events_dlq, retention_ms="5000")
    async with admin(scene.kafka, "tests") as client:
        assert (await retention(client, topology)).longest_ms == 5000
        await configure(scene.kafka, topology.events, retention_ms="-1")
        assert (await retention(client, topology)).longest_ms is None


async def test_a_copy_that_missed_tombstones_is_rebuilt(scene: Scene) -> None:
    """After longer than the topic keeps them, what was deleted meanwhile would live for ever."""
    setup = await scene.setup(1)
    partition, last = await erased(scene, setup)
    await scene.end(partition)
    other = await scene.open(await scene.setup(2))
    await other.forget(last + 1)
    week = setup.tombstone_ms
    at_once = await scene.open(Setup(**{**vars(setup), "clock": lambda: setup.clock() + week - 60_000}))
    kept = at_once._store.position
    await scene.end(at_once)
    at_last = await scene.open(Setup(**{**vars(setup), "clock": lambda: setup.clock() + 2 * week}))

    assert at_last._store.position == kept
    assert at_last._store.get([KEYS[0]]) == {KEYS[0]: None}


async def test_idle_rows_are_removed_and_start_over(scene: Scene) -> None:
    """Those whose last event the log has lost long ago; and a late event makes a row of its own."""
    setup = await scene.setup()
    log = a_log(*(an_event(n, request_id=name, data={"a": n}) for n, name in enumerate((R1, R2, R3))))
    records = await scene.publish(log)
    partition = await scene.open(setup)
    await partition.merge(records)
    later, third = setup.clock() + 1_000 * DAY_MS, version_of(scene.topology.generation, 2)

    assert await partition.forget_idle(older_than(later, 2_000 * DAY_MS, third)) == 0
    assert await partition.forget_idle(older_than(later, 100 * DAY_MS, third)) == 2
    assert await partition.forget_idle(older_than(later, 100 * DAY_MS, third)) == 0
    rows = await scene.rows()
    assert [rows[key] is None for key in KEYS] == [True, True, False]

    await partition.merge((await scene.publish(a_log(an_event(3, request_id=R1, data={"b": 3}))))[-1:])
    assert b'"data":{"b":3}' in ((await scene.rows())[KEYS[0]] or b"")


async def test_the_retention_of_rows_is_a_setting_of_the_state_topic(scene: Scene) -> None:
    """By what is set for the topic itself: a broker's own retention is for logs; and never for too short."""
    topology = scene.topology
    async with admin(scene.kafka, "tests") as client:
        assert (await retention(client, topology)).idle_ms is None
        await configure(scene.kafka, topology.state, retention_ms=str(119 * DAY_MS))
        too_short = await retention(client, topology)
        await configure(scene.kafka, topology.state, retention_ms=str(121 * DAY_MS))
        enough = await retention(client, topology)

    assert (too_short.idle_ms, too_short.is_idle_safe) == (119 * DAY_MS, False)
    assert (enough.idle_ms, enough.is_idle_safe) == (121 * DAY_MS, True)
