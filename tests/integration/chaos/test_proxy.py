"""The proxy before Kafka does to connections what a bad network does."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Self

import pytest
import uvloop

from chaos.proxy import Proxy
from services.local.core.kafka_config import LOOPBACK
from services.local.ports import free_port


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that says everything twice."""
    server = await asyncio.start_server(_echo, LOOPBACK, port := free_port())
    async with server, Proxy(free_port(but_not=port), port) as proxy:
        yield proxy


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1024):
        writer.write(piece * 2)
    writer.close()


class Caller:
    """A connection through the proxy, for a block."""

    def __init__(self, proxy: Proxy) -> None:
        self._port = proxy.port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self._port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()

    def say(self, text: bytes) -> None:
        """Send something."""
        self._writer.write(text)

    async def hear(self, size: int) -> bytes:
        """Return so many bytes, or nothing where the connection ends."""
        try:
            return await asyncio.wait_for(self._reader.readexactly(size), 30)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


async def test_it_is_a_wire(proxy: Proxy) -> None:
    """What is said arrives, and the answer comes back."""
    async with Caller(proxy) as caller:
        caller.say(b"ab")

        assert await caller.hear(4) == b"abab"


async def test_silence_holds_everything_back_and_loses_nothing(proxy: Proxy) -> None:
    """As a network that comes back delivers what was sent meanwhile."""
    async with Caller(proxy) as caller, Caller(proxy) as other:
        proxy.silence()
        caller.say(b"ab")
        other.say(b"cd")
        hearing = asyncio.create_task(caller.hear(4))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(hearing), 0.1)

        proxy.restore()

        assert await hearing == b"abab"
        assert await other.hear(4) == b"cdcd"


async def test_a_cut_ends_every_connection_and_every_new_one(proxy: Proxy) -> None:
    """Until it is over."""
    async with Caller(proxy) as caller:
        caller.say(b"ab")
        assert await caller.hear(4) == b"abab"
        await proxy.cut()
        assert await caller.hear(1) == b""
    async with Caller(proxy) as caller:
        assert await caller.hear(1) == b""

    proxy.restore()
    async with Caller(proxy) as caller:
        caller.say(b"ab")
        assert await caller.hear(4) == b"abab"


def test_an_end_that_is_closed_while_data_is_held_back_is_no_error() -> None:
    """A client leaves while its data is held back.  On uvloop, as in a run: it refuses to write then."""

    async def leave() -> list[dict[str, object]]:
        errors: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        server = await asyncio.start_server(_echo, LOOPBACK, port := free_port())
        async with server, Proxy(free_port(but_not=port), port) as proxy:
            async with Caller(proxy) as caller:
                caller.say(b"ab")
                assert await caller.hear(4) == b"abab"
                proxy.silence()
                caller.say(b"cd")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(caller.hear(1), 0.1)
                await proxy.cut()
            proxy.restore()
            async with Caller(proxy) as caller:
                caller.say(b"gh")
                assert await caller.hear(4) == b"ghgh"
        gc.collect()
        return errors

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(leave()) == []


async def test_a_slow_one_delivers_in_order(proxy: Proxy) -> None:
    """Piece by piece."""
    proxy.delay = 0.01
    async with Caller(proxy) as caller:
        for piece in (b"a", b"b", b"c"):
            caller.say(piece)
            assert await caller.hear(2) == piece * 2


async def test_the_connection_ends_if_the_target_refuses_it() -> None:
    """As it would without a proxy."""
    async with Proxy(free_port(), free_port()) as proxy, Caller(proxy) as caller:
        assert await caller.hear(1) == b""
