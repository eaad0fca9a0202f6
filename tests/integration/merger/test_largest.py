"""The largest events, rows and dead letters that there may be go through, and what follows them does too."""

from schemas.deadletters import Reason
from schemas.limits import MAX_EVENT_BYTES, MAX_ROW_BYTES
from services.merger.core.admission import weight
from services.merger.core.state import decode
from tests.integration.merger.test_partition import check_truth
from tests.support.merger.partitions import R1, R2, Scene, read_committed
from tests.support.merger.records import ARecord, a_log, a_record, an_event

KEY = b"default/" + R1.encode()


def largest(number: int) -> ARecord:
    """Return an event of exactly the largest size, whose one key is its own."""
    empty = a_record(number, an_event(number, request_id=R1, data={f"k{number}": ""})).value or b""
    text = "x" * (MAX_EVENT_BYTES - len(empty))
    return a_record(number, an_event(number, request_id=R1, data={f"k{number}": text}))


async def test_the_largest_row_goes_through(scene: Scene) -> None:
    """Eight of the largest events make it; a ninth is too large for it, and small ones still fit."""
    log = [largest(number) for number in range(9)]
    rest = a_log(an_event(0, request_id=R1, data={"a": 1}), an_event(1, request_id=R2))
    records = await scene.publish([*log, *rest])
    partition = await scene.open()
    await partition.merge(records)
    row = (await scene.rows())[KEY] or b""

    assert MAX_ROW_BYTES - MAX_EVENT_BYTES < weight(decode(row)) <= MAX_ROW_BYTES
    await check_truth(scene)
    (letter,) = await scene.letters()
    assert (letter.reason, letter.original_offset) == (Reason.ROW_TOO_LARGE, 8)
    (dead,) = await read_committed(scene.kafka, scene.topology.events_dlq)
    assert len(dead.value) == MAX_EVENT_BYTES


async def test_the_largest_row_is_read_back(scene: Scene) -> None:
    """By another machine, which merges on."""
    records = await scene.publish([largest(number) for number in range(8)])
    await (await scene.open(await scene.setup(1))).merge(records)
    second = await scene.open(await scene.setup(2))
    await second.merge(await scene.publish([a_record(8, an_event(8, request_id=R1, data={"a": 1}))]))

    await check_truth(scene)
