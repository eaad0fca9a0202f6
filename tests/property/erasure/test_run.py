"""An erasure comes to its end whoever dies on the way, and takes what it should and nothing else."""

from dataclasses import replace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import FEEDBACK_EVENTS
from services.erasure.core.erasures import MOST_ROUNDS, ErasureRecord, ErasureState
from services.erasure.run import ErasureRun
from tests.support.operations.erasure_in_memory import (
    ID,
    TENANT,
    USER,
    DiedError,
    Event,
    FakeLog,
    FakeTables,
    World,
    an_erasure,
)

REQUESTS = st.sampled_from(["r1", "r2", "r3", "r4"])
EVENTS = st.lists(st.builds(Event, REQUESTS, st.sampled_from(["", USER, "other"])), max_size=12)
DEATHS = st.lists(st.integers(0, 25), max_size=6)


async def worked(world: World, lives: int | None) -> ErasureRecord:
    """Work at the world's erasure with a process that makes so many calls."""
    world.lives = lives
    assert world.erasure is not None
    return await ErasureRun(cast("Any", FakeTables(world)), cast("Any", FakeLog(world)), world.erasure).run()


async def carried_out(world: World, deaths: list[int]) -> ErasureRecord:
    """Die as often as that, each time with another process going on, and come to the end."""
    for lives in deaths:
        try:
            return await worked(world, lives)
        except DiedError:
            continue
    return await worked(world, None)


def named(world: World) -> set[str]:
    """Return the requests that named the user at any time."""
    return {one.request_id for one in world.log if one.user == USER}


@given(EVENTS, EVENTS.map(lambda several: several[: MOST_ROUNDS - 2]), DEATHS)
async def test_whatever_names_the_user_goes_and_the_rest_stays(
    log: list[Event], coming: list[Event], deaths: list[int]
) -> None:
    """Also what was on its way, and wherever processes die."""
    world = World(coming=[*coming], erasure=an_erasure())
    world.append(*log)
    told = await carried_out(world, deaths)
    late = len(world.coming)

    assert told.state is ErasureState.VERIFIED
    assert told.certificate is not None
    assert set(told.certificate["left"].values()) == {0}
    assert set(told.request_ids) == {one.request_id for one in world.log if one.erase is not None}
    wanted = named(world) if not late and not told.certificate["later_requests"] else set(told.request_ids)
    assert set(told.request_ids) == wanted
    for version, one in enumerate(world.log):
        if one.erase is None:
            assert (version in world.stored) == (version > world.upto(one.request_id))


@given(EVENTS, DEATHS)
async def test_rows_are_counted_once_however_often_it_starts_over(
    log: list[Event], deaths: list[int]
) -> None:
    """What the certificate says was found is what was there."""
    world = World(erasure=an_erasure())
    world.append(*log)
    rows = sum(one.request_id in named(world) for one in log)
    told = await carried_out(world, deaths)

    assert told.found.get(FEEDBACK_EVENTS, 0) == rows


@given(st.sets(REQUESTS), EVENTS, DEATHS)
async def test_named_requests_are_erased_for_every_user(
    requests: set[str], log: list[Event], deaths: list[int]
) -> None:
    """Also those of which nothing is known; no other goes."""
    world = World(erasure=an_erasure(user_hash="", asked_for=tuple(sorted(requests))))
    world.append(*log)
    told = await carried_out(world, deaths)

    assert told.state is ErasureState.VERIFIED
    assert {one.request_id for one in world.stored.values() if one.erase is None} == {
        one.request_id for one in log if one.request_id not in requests
    }


async def test_a_user_who_continues_giving_feedback_does_not_keep_it_from_ending() -> None:
    """What came after the last look is not erased, and the certificate says so."""
    world = World(coming=[Event(f"r{number}", USER) for number in range(100)], erasure=an_erasure())
    told = await worked(world, None)

    assert told.rounds == MOST_ROUNDS
    assert told.certificate is not None
    assert told.certificate["later_requests"] == len(named(world)) - len(told.request_ids) > 0


async def test_an_erasure_that_is_verified_is_unchanged() -> None:
    """Even if somebody works at it again."""
    world = World(erasure=replace(an_erasure(), state=ErasureState.VERIFIED), lives=0)
    told = await worked(world, 0)

    assert told.state is ErasureState.VERIFIED
    assert (told.tenant, told.id) == (TENANT, ID)
