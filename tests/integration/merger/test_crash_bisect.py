"""An event that ends the process again and again: it is found, dead-lettered, and the others continue."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msgspec import MsgspecError

from schemas.deadletters import Reason
from services.merger.context import Setup
from tests.integration.merger.test_partition import committed_is
from tests.support.eventually import eventually
from tests.support.merger.partitions import R1, R2, R3, Scene
from tests.support.merger.records import a_log, an_event


async def ends(scene: Scene, setup: Setup, records: list[object]) -> bool:
    """Let a process merge, and tell whether that ended it."""
    partition = await scene.open(setup)
    try:
        await partition.merge(records)
    except MsgspecError:
        return True
    else:
        return False
    finally:
        await scene.end(partition)


class Cursed(int):
    """A record's timestamp that cannot be compared: the process that folds the record crashes."""

    def __gt__(self, other: object) -> bool:
        raise MsgspecError("cursed")


def cursed(records: Sequence[Any], offset: int) -> list[Any]:
    """Return the records, of which the one at `offset` crashes whatever folds it."""
    return [
        replace(record, timestamp=Cursed(record.timestamp)) if record.offset == offset else record
        for record in records
    ]


async def test_the_culprit_is_found_and_dead_lettered(scene: Scene) -> None:
    """Three ends of the batch, one of the culprit alone; then it is a dead letter, and all else is merged."""
    names = [R1, R3, R2, R1]
    events = [an_event(number, request_id=name, data={"n": number}) for number, name in enumerate(names)]
    records = cursed(await scene.publish(a_log(*events)), 2)
    setup = await scene.setup()

    assert [await ends(scene, setup, records) for _ in range(5)] == [True, True, True, True, False]
    (letter,) = await scene.letters()
    assert (letter.reason, letter.original_offset) == (Reason.CRASHED, 2)
    await eventually(lambda: committed_is(scene, 4))
    rows = await scene.rows()
    assert b'"data":{"n":3}' in (rows[b"default/" + R1.encode()] or b"")
    assert b'"data":{"n":1}' in (rows[b"default/" + R3.encode()] or b"")


async def test_an_end_at_any_other_moment_is_not_held_against_the_events(scene: Scene) -> None:
    """Only what happens while events are folded counts."""
    events = a_log(an_event(0, request_id=R1), an_event(1, request_id=R2))
    records = cursed(await scene.publish(events), 1)
    setup = await scene.setup()

    assert [await ends(scene, setup, records) for _ in range(2)] == [True, True]
    partition = await scene.open(setup)
    await partition.merge(records[:1])
    await scene.end(partition)
    assert [await ends(scene, setup, records) for _ in range(3)] == [True, True, True]
    assert await scene.letters() == []
