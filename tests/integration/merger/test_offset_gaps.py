"""Offsets that were not delivered: still in the log, never events at all, or deleted."""

import pytest
from aiokafka import AIOKafkaProducer

from services.merger.metrics import GAPS
from services.merger.recovery import EventsLost
from services.pipeline.core.continuity import ContinuityError
from services.runtime.kafka.clients import client_options
from tests.integration.merger.test_partition import check_truth
from tests.support.merger.partitions import R1, R2, Scene, delete_before
from tests.support.merger.records import a_log, a_record, an_event


def counted(found: str) -> float:
    """Return how many offsets were missing so far, by what was found there."""
    return float(GAPS.labels(found)._value.get())


async def test_records_that_were_not_delivered_are_read_again(scene: Scene) -> None:
    """Before the batch and inside it: the result is that of the whole log."""
    events = [an_event(n, request_id=R1 if n % 2 else R2, data={str(n): n}) for n in range(8)]
    records = await scene.publish(a_log(*events))
    partition = await scene.open()
    before = counted("events")

    assert await partition.merge([records[2], records[3], records[6], records[7]]) == 8
    assert counted("events") - before == 4
    await check_truth(scene)


async def test_offsets_that_hold_no_event_are_passed(scene: Scene) -> None:
    """A transaction's commit takes an offset, and what was rolled back takes some that nobody may read."""
    await scene.publish([a_record(0, an_event(0, request_id=R1, data={"a": 0}))])
    options = client_options(scene.kafka, "tests")
    producer = AIOKafkaProducer(**options, transactional_id=f"foreign-{scene.home}")
    await producer.start()
    for number, is_kept in ((1, True), (2, False)):
        record = a_record(number, an_event(number, request_id=R1, data={"a": number}))
        await producer.begin_transaction()
        await producer.send_and_wait(scene.topology.events.name, record.value, record.key, partition=0)
        await (producer.commit_transaction() if is_kept else producer.abort_transaction())
    await producer.stop()
    records = await scene.publish([a_record(5, an_event(5, request_id=R1, data={"b": 5}))])
    partition = await scene.open()
    before = counted("nothing")

    assert [record.offset for record in records] == [0, 1, 5]
    assert await partition.merge(records) == 3
    assert counted("nothing") - before == 3
    await check_truth(scene)


async def test_events_that_were_deleted_stop_the_merger(scene: Scene) -> None:
    """It names the command that continues without them, and a new start refuses, too."""
    records = await scene.publish(a_log(*(an_event(n, request_id=R1) for n in range(6))))
    setup = await scene.setup()
    partition = await scene.open(setup)
    await partition.merge(records[:2])
    await delete_before(scene.kafka, scene.topology.events, 4)

    with pytest.raises(EventsLost, match=r"offsets 2 to 3 .* `afterword merger accept-loss`"):
        await partition.merge(records[4:])
    await scene.end(partition)
    with pytest.raises(ContinuityError, match="accept-loss"):
        await scene.open(setup)
    with pytest.raises(ContinuityError, match="accept-loss"):
        await scene.setup(2)
