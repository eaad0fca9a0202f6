"""One partition on a real Kafka: exactly once, with repeated deliveries and late owners."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced

from schemas.deadletters import Reason, Stage
from schemas.topics import DAY_MS
from services.merger.partition import TooManyBroken
from services.runtime.kafka.clients import client_options
from tests.support.eventually import eventually
from tests.support.merger.partitions import (
    R1,
    R2,
    R3,
    Scene,
    commit,
    configure,
    read_committed,
    truth_of,
)
from tests.support.merger.records import ARecord, a_log, a_record, an_event
from tests.support.merger.states import shown

BROKEN = ARecord(0, b"default/" + R1.encode(), b"{")


async def check_truth(scene: Scene) -> None:
    """Compare everything that was committed with what the oracle makes of the log."""
    records = await scene.events()
    truth = truth_of(scene.topology, records)
    letters = [
        (letter.original_partition, letter.original_offset, letter.reason.value)
        for letter in await scene.letters()
    ]

    assert truth.rows == {key: shown(row) for key, row in (await scene.rows()).items() if row is not None}
    assert truth.dead == letters
    await eventually(lambda: committed_is(scene, records[-1].offset + 1))


async def committed_is(scene: Scene, offset: int) -> bool:
    """Return whether the group's position is what it should be: a commit shows a moment after it returns."""
    return await scene.committed() == offset


async def test_rows_dead_letters_and_position_are_one(scene: Scene) -> None:
    """A batch with a broken record in the middle: the rest is merged, the record keeps its story."""
    log = a_log(an_event(0, request_id=R1, data={"a": 1}), an_event(1, request_id=R2, data={"b": None}))
    records = await scene.publish([log[0], BROKEN, log[1]])
    partition = await scene.open()

    assert await partition.merge(records) == 3
    await check_truth(scene)
    (letter,) = await scene.letters()
    (dead,) = await read_committed(scene.kafka, scene.topology.events_dlq)
    assert (letter.stage, letter.reason) == (Stage.MERGER, Reason.MALFORMED_EVENT)
    assert letter.original_topic == scene.topology.events.name
    assert letter.original_version == scene.topology.generation << 48 | 1
    assert datetime.fromisoformat(letter.failed_at).tzinfo == UTC
    assert (dead.key, dead.value) == (BROKEN.key, BROKEN.value)


async def test_a_record_without_key_and_value_is_a_dead_letter_too(scene: Scene) -> None:
    """Nothing is too broken for the dead letters."""
    partition = await scene.open()
    await partition.merge([ARecord(0, None, None)])

    assert [letter.reason for letter in await scene.letters()] == [Reason.MALFORMED_EVENT]


async def test_a_second_delivery_changes_nothing(scene: Scene) -> None:
    """The same batch merges nothing, one that overlaps only what is new."""
    records = await scene.publish(a_log(*(an_event(number, request_id=R1) for number in range(4))))
    partition = await scene.open()

    assert await partition.merge(records[:3]) == 3
    assert await partition.merge(records[:3]) == 0
    assert await partition.merge(records[1:]) == 1
    assert len(await read_committed(scene.kafka, scene.topology.state)) == 2
    await check_truth(scene)


async def test_a_row_is_stamped_with_the_append_time_of_its_newest_event(scene: Scene) -> None:
    """Kafka's clock at the event, so that whoever reads the row knows how fresh it is."""
    records = await scene.publish(a_log(an_event(0, request_id=R1), an_event(1, request_id=R1)))
    await (await scene.open()).merge(records)
    (row,) = await read_committed(scene.kafka, scene.topology.state)

    assert (row.timestamp, row.timestamp_type) == (records[1].timestamp, 0)


async def test_events_of_a_broker_whose_clock_was_ahead_are_merged(scene: Scene) -> None:
    """The row takes their append time, though it lies days ahead of what other brokers have."""
    early, late = await scene.publish(
        a_log(an_event(0, request_id=R1), an_event(1, request_id=R1, data={"a": 1}))
    )
    ahead = early.timestamp + 2 * DAY_MS
    partition = await scene.open()
    assert await partition.merge([replace(early, timestamp=ahead)]) == 1
    assert await partition.merge([late]) == 1

    assert await scene.letters() == []
    assert [row.timestamp for row in await read_committed(scene.kafka, scene.topology.state)] == [
        ahead,
        late.timestamp,
    ]


async def test_a_restart_continues_at_its_position(scene: Scene) -> None:
    """With the rows of this machine."""
    records = await scene.publish(a_log(*(an_event(n, request_id=R1, data={str(n): n}) for n in range(4))))
    setup = await scene.setup()
    first = await scene.open(setup)
    await first.merge(records[:2])
    await scene.end(first)
    second = await scene.open(setup)

    assert second.position == 2
    assert await second.merge(records) == 2
    await check_truth(scene)


@pytest.mark.parametrize(
    "instance", [pytest.param(1, id="with its rows"), pytest.param(2, id="without them")]
)
async def test_a_position_that_kafka_forgot_makes_no_second_dead_letter(scene: Scene, instance: int) -> None:
    """A coordinator that lost commits says an older position; the rows know better, and it is told."""
    log = a_log(*(an_event(n, request_id=R1, data={str(n): n}) for n in range(4)))
    records = await scene.publish([*log[:2], BROKEN, *log[2:]])
    first = await scene.open(await scene.setup(1))
    await first.merge(records)
    await scene.end(first)
    scene.release()
    await commit(scene.kafka, scene.topology, 1)
    second = await scene.open(await scene.setup(instance))

    assert second.position == 5
    await eventually(lambda: committed_is(scene, 5))  # told again, or it would seem to lag
    more = await scene.publish([a_record(5, an_event(5, request_id=R1, data={"5": 5}))])
    assert await second.merge(more[1:]) == 1
    await check_truth(scene)


async def test_another_machine_reads_the_rows_back(scene: Scene) -> None:
    """From the state topic: what was committed, erased rows and tombstones included."""
    events = [an_event(n, request_id=name, data={str(n): n}) for n, name in enumerate([R1, R2, R3])]
    records = await scene.publish(a_log(*events, an_event(3, request_id=R2, op="erase")))
    first = await scene.open(await scene.setup(1))
    await first.merge(records)
    second = await scene.open(await scene.setup(2))
    more = await scene.publish([a_record(4, an_event(4, request_id=R1, data={"4": 4}))])

    assert await second.merge(more) == 1
    await check_truth(scene)


async def test_an_owner_that_wakes_up_late_is_fenced(scene: Scene) -> None:
    """Whatever it was about to write stays unwritten, and its position uncommitted."""
    records = await scene.publish(a_log(*(an_event(n, request_id=R1, data={str(n): n}) for n in range(4))))
    late = await scene.open(await scene.setup(1))
    await late.merge(records[:1])
    owner = await scene.open(await scene.setup(2))
    await owner.merge(records[:3])

    with pytest.raises(ProducerFenced):
        await late.merge(records[1:])
    await owner.merge(records)
    await check_truth(scene)


async def test_what_a_killed_owner_left_open_is_not_seen(scene: Scene) -> None:
    """Rows of a transaction that nobody committed: the next owner ends it before it reads anything."""
    records = await scene.publish(a_log(an_event(0, request_id=R1, data={"a": 1})))
    killed = AIOKafkaProducer(
        **client_options(scene.kafka, "tests"),
        transactional_id=scene.topology.transactional_id(scene.topology.merger_group, 0),
    )
    await killed.start()
    await killed.begin_transaction()
    await killed.send_and_wait(scene.topology.state.name, b"never", b"default/" + R1.encode(), partition=0)
    partition = await scene.open()
    await partition.merge(records)
    await killed.client.close()

    await check_truth(scene)
    killed._closed = True


async def test_a_send_that_failed_commits_nothing(scene: Scene) -> None:
    """Kafka refuses the rows: the position stays where it was, and nothing of the batch is seen."""
    records = await scene.publish(a_log(an_event(0, request_id=R1), an_event(1, request_id=R2)))
    partition = await scene.open()
    await partition.merge(records[:1])
    await configure(scene.kafka, scene.topology.state, max_message_bytes="100")

    with pytest.raises(MessageSizeTooLargeError):
        await partition.merge(records)
    await eventually(lambda: committed_is(scene, 1))
    assert (await scene.rows()).keys() == {b"default/" + R1.encode()}

    await configure(scene.kafka, scene.topology.state)
    await scene.end(partition)
    await (await scene.open(partition._setup)).merge(records)
    await check_truth(scene)


async def test_a_batch_that_was_cancelled_is_not_gone_on_with(scene: Scene) -> None:
    """A partition whose batch was cut off in the middle is of no more use; the next one is."""
    records = await scene.publish(a_log(an_event(0, request_id=R1), an_event(1, request_id=R2)))
    setup = await scene.setup()
    partition = await scene.open(setup)
    merging = asyncio.create_task(partition.merge(records))
    await eventually(lambda: not partition._is_sound, every=0)
    merging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await merging

    with pytest.raises(RuntimeError, match="failed before"):
        await partition.merge(records)
    await scene.end(partition)
    await (await scene.open(setup)).merge(records)
    await check_truth(scene)


async def test_too_many_broken_events_stop_the_part(scene: Scene) -> None:
    """Nothing of the batch is dead-lettered, now or after a restart, until somebody says so."""
    records = await scene.publish([BROKEN] * 101)
    setup = await scene.setup()
    partition = await scene.open(setup)
    await partition.merge(records[:60])
    with pytest.raises(TooManyBroken, match=r"101 of 1,000 .* MERGER_MAX_DEAD_LETTER_SHARE=1"):
        await partition.merge(records)
    await scene.end(partition)
    again = await scene.open(setup)
    with pytest.raises(TooManyBroken):
        await again.merge(records)
    await eventually(lambda: committed_is(scene, 60))
    await scene.end(again)

    carefree = await scene.open(await scene.setup(2, merger_max_dead_letter_share=1.0))
    await carefree.merge(records)
    await check_truth(scene)


async def test_what_clients_cause_on_purpose_stops_nothing(scene: Scene) -> None:
    """Any number of conflicting Idempotency-Keys is the client's affair."""
    first = an_event(0, request_id=R1, idempotent=True, data={"a": 0})
    conflicts = [{**first, "data": {"a": n}} for n in range(1, 150)]
    partition = await scene.open()
    await partition.merge(await scene.publish(a_log(first, *conflicts)))

    assert {letter.reason for letter in await scene.letters()} == {Reason.IDEMPOTENCY_CONFLICT}
    assert len(await scene.letters()) == 149
