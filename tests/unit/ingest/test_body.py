"""Bodies on their way in: their pieces, their limits, and clients that are slow or disconnect."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.ingest.body import BodyReader, ClientDisconnected, Headers, Receive
from services.ingest.core.errors import Code, Rejection
from services.ingest.event_log import Overloaded

MIB = 1 << 20


def pieces(*bodies: bytes, ending: Any = None) -> Callable[[], Any]:
    """Return an ASGI `receive` that hands out a body in pieces, then `ending`: a message, or silence."""
    messages = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    if ending is None:
        messages[-1]["more_body"] = False

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return ending if ending is not None else await asyncio.Event().wait()

    return receive


async def read(
    bodies: BodyReader, receive: Receive, headers: Headers | None = None, tenant: str = "t"
) -> bytes:
    """Read a body of at most 100 bytes, and hold it no longer than that."""
    with bodies.reserve(tenant) as reservation:
        return await bodies.read(receive, headers or {}, 100, reservation)


async def test_pieces_are_put_together() -> None:
    """However a client cuts its body."""
    bodies = BodyReader(MIB, 5)

    assert await read(bodies, pieces(b'{"da', b"", b'ta":{}}')) == b'{"data":{}}'


async def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    """The client need not even begin to send."""

    async def receive() -> Any:
        raise AssertionError("read")

    with pytest.raises(Rejection) as refused:
        await read(BodyReader(MIB, 5), receive, {b"content-length": b"101"})
    assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize("body", [[b"x" * 101], [b"x" * 60, b"x" * 41]])
async def test_a_body_without_a_length_is_cut_off_at_the_limit(body: list[bytes]) -> None:
    """In one piece or in several."""
    with pytest.raises(Rejection) as refused:
        await read(BodyReader(MIB, 5), pieces(*body))
    assert refused.value.code is Code.TOO_LARGE


async def test_a_client_that_dawdles_gets_an_error() -> None:
    """408 after the limit, and the connection's task continues."""
    with pytest.raises(Rejection) as refused:
        await read(BodyReader(MIB, 0.05), _silent())
    assert refused.value.code is Code.REQUEST_TIMEOUT
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def _silent() -> Callable[[], Any]:
    async def receive() -> Any:
        await asyncio.Event().wait()

    return receive


async def test_a_client_that_leaves_is_not_answered() -> None:
    """Before its body, or in the middle of it."""
    gone = {"type": "http.disconnect"}
    with pytest.raises(ClientDisconnected):
        await read(BodyReader(MIB, 5), pieces(b"{", ending=gone))

    async def receive() -> Any:
        return gone

    with pytest.raises(ClientDisconnected):
        await read(BodyReader(MIB, 5), receive)


async def test_large_bodies_on_their_way_are_bounded_together() -> None:
    """The one too many is refused at once; the bytes are free again when an upload ends or is given up."""
    bodies = BodyReader(100, 5)
    held = asyncio.create_task(read(bodies, _slow(b"x" * 80)))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await read(bodies, pieces(b"x" * 20, b"y"))
    held.cancel()
    await asyncio.wait([held])
    assert len(await read(bodies, pieces(b"x" * 80, b"y" * 20))) == 100


def _slow(first: bytes) -> Callable[[], Any]:
    messages = [{"type": "http.request", "body": first, "more_body": True}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    return receive


async def test_being_cancelled_is_not_mistaken_for_dawdling() -> None:
    """A server that stops cancels its requests: that goes through."""
    reading = asyncio.create_task(read(BodyReader(MIB, 30), _silent()))
    await asyncio.sleep(0)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
