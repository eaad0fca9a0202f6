"""Which tenant's query is next."""

import asyncio

import pytest

from services.runtime.fairness import TenantTurns


async def test_one_tenant_never_has_every_turn() -> None:
    """It waits for its own questions to end, while others are next at once."""
    turns = TenantTurns(4, wait_seconds=0.05)
    mine = [await turns.next("busy") for _ in range(turns.share)]
    with pytest.raises(TimeoutError):
        await turns.next("busy")
    other = await turns.next("other")
    mine[0]()

    with pytest.raises(TimeoutError):
        await asyncio.gather(*(turns.next("other") for _ in range(2)))
    other()
    (await turns.next("busy"))()


@pytest.mark.parametrize("total", [1, 2, 3, 4, 8, 256])
def test_every_tenant_has_some_turns(total: int) -> None:
    """And leaves some, where there are two at all."""
    assert 1 <= TenantTurns(total, 1).share <= max(1, total - 1)


async def test_a_cancelled_wait_takes_no_turn() -> None:
    """Cancelled, or too late, or ended: all turns are there again."""
    turns = TenantTurns(2, wait_seconds=0.05)
    first, second = await turns.next("a"), await turns.next("b")
    waiting = asyncio.create_task(turns.next("c"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(TimeoutError):
        await turns.next("d")
    first()
    second()

    await turns.next("c")
    await turns.next("d")


async def test_tenants_that_ask_nothing_any_more_are_forgotten() -> None:
    """Whether they were answered or gave up; and only so many of one stand in line."""
    turns = TenantTurns(1, wait_seconds=0.02, waiting=2)
    end = await turns.next("a")
    found = await asyncio.gather(*(turns.next("a") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(one, TimeoutError) for one in found)
    assert turns.is_busy("a")
    with pytest.raises(TimeoutError):
        await turns.next("b")
    assert not turns.is_busy("b")
    end()

    assert not turns._of
