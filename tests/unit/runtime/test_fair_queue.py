"""Batches work one at a time, and tenants take turns."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.fairness import FairQueue, Rotation, TimeSlices


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=50))
def test_tenants_take_turns_and_each_keeps_its_order(waiting: list[tuple[str, int]]) -> None:
    """Nobody is forgotten, and between two of one tenant each other one that waits has had its turn."""
    rotation: Rotation[tuple[str, int]] = Rotation()
    for tenant, number in waiting:
        rotation.add(tenant, (tenant, number))
    served = []
    while (one := rotation.next()) is not None:
        served.append(one)

    assert sorted(served) == sorted(waiting)
    for tenant in "abc":
        mine = [one for one in waiting if one[0] == tenant]
        assert [one for one in served if one[0] == tenant] == mine
        for rank, one in enumerate(mine, start=1):
            place = served.index(one)
            assert all([name for name, _ in served[:place]].count(other) <= rank for other in "abc")


async def work(queue: FairQueue, tenant: str, done: list[str], steps: int) -> None:
    """Work in many turns."""
    mine = TimeSlices(queue, tenant)
    async with mine:
        for _ in range(steps):
            done.append(tenant)
            mine._ends = 0  # as if it had taken long
            await mine.pause()


async def test_a_tenant_with_a_hundred_batches_has_every_other_turn() -> None:
    """One batch of another tenant is done while a hundred wait."""
    queue, done = FairQueue(), list[str]()
    busy = [asyncio.create_task(work(queue, "busy", done, 5)) for _ in range(100)]
    await asyncio.sleep(0)
    await work(queue, "other", done, 20)

    assert done.count("busy") <= 30
    await asyncio.gather(*busy)
    assert done.count("busy") == 500


async def test_who_is_cancelled_in_its_pause_does_not_keep_the_queue() -> None:
    """Nor does it stand in line any more."""
    queue, done = FairQueue(), list[str]()
    working = asyncio.create_task(work(queue, "a", done, 100))
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)

    await asyncio.wait_for(work(queue, "b", done, 3), 5)
    assert done.count("b") == 3


async def test_who_leaves_while_waiting_does_not_keep_the_queue() -> None:
    """Cancelled before its turn, in its turn, and just as it is called."""
    queue, done = FairQueue(), list[str]()
    holder = TimeSlices(queue, "a")
    await holder.enter()
    before = asyncio.create_task(work(queue, "b", done, 1))
    called = asyncio.create_task(work(queue, "c", done, 1))
    await asyncio.sleep(0)
    before.cancel()
    await asyncio.sleep(0)
    holder.leave()
    called.cancel()
    await asyncio.gather(before, called, return_exceptions=True)

    await asyncio.wait_for(work(queue, "d", done, 3), 5)
    assert done == ["d"] * 3
