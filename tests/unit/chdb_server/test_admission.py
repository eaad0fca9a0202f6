"""How many queries and bytes are admitted at once."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from chdb_server.admission import BodyMemory, BodyReservation, ClientLeftError, QuerySlots, Receive, read_body
from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import QueryRefusedError


@pytest.fixture
def share() -> Iterator[BodyReservation]:
    """Memory for 10 bytes."""
    with BodyMemory(10).reservation() as share:
        yield share


def receive_from(*messages: dict[str, Any]) -> Receive:
    """Return ASGI's `receive` for these messages; then nothing comes any more."""
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in left:
            return message
        return await asyncio.Event().wait()  # type: ignore[return-value] # it never returns

    return receive


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """Return a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def read(receive: Receive, share: BodyReservation, *, max_bytes: int = 10) -> bytes:
    """Read a body with little patience."""
    return await read_body(receive, share, max_bytes=max_bytes, timeout_seconds=0.05)


async def test_no_more_queries_run_at_once_than_there_are_turns() -> None:
    """The next is refused once it has waited long enough, and continues when one ends in time."""
    turns = QuerySlots(1, wait_seconds=0.01)
    async with turns.slot():
        with pytest.raises(QueryRefusedError, match=r"Code: 202.*1 are running"):
            await turns.slot().__aenter__()
    async with turns.slot():
        pass


async def test_a_turn_is_given_back_after_a_failure() -> None:
    """Else failures would use them up."""
    turns = QuerySlots(1, wait_seconds=0.01)
    with pytest.raises(ZeroDivisionError):
        async with turns.slot():
            raise ZeroDivisionError
    async with turns.slot():
        pass


def test_bodies_share_one_room_and_give_it_back() -> None:
    """A request past it is refused as memory is on a server, and may be tried again."""
    room = BodyMemory(10)
    with room.reservation() as first:
        first.take(6)
        with room.reservation() as second, pytest.raises(QueryRefusedError, match="Code: 241"):
            second.take(5)
    with room.reservation() as third:
        third.take(10)


async def test_a_body_is_joined_from_its_parts(share: BodyReservation) -> None:
    """Its bytes are counted."""
    body = await read(receive_from(chunk(b"ab"), chunk(b"c"), chunk(b"", more=False)), share)

    assert (body, share.taken) == (b"abc", 3)


async def test_a_body_past_its_limit_is_refused_while_it_comes(share: BodyReservation) -> None:
    """Not only when it is there."""
    with pytest.raises(TooLargeError):
        await read(receive_from(chunk(b"abc"), chunk(b"d")), share, max_bytes=3)


async def test_a_body_that_stops_coming_is_refused(share: BodyReservation) -> None:
    """Its room is needed by others."""
    with pytest.raises(QueryRefusedError, match="Code: 209"):
        await read(receive_from(chunk(b"abc")), share)


async def test_a_client_that_leaves_in_the_middle_is_no_failure(share: BodyReservation) -> None:
    """Nobody is there to be told."""
    with pytest.raises(ClientLeftError):
        await read(receive_from(chunk(b"abc"), {"type": "http.disconnect"}), share)
