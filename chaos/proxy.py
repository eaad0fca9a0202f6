"""A TCP proxy on loopback that delays or withholds data, or cuts every connection, when asked."""

import asyncio
from contextlib import suppress
from typing import Self

from services.local.core.kafka_config import LOOPBACK

_CHUNK = 64 * 1024


class Proxy:
    """What connects to `port` is connected to `target`.

    `delay` is how many seconds each piece waits, in both directions.  While it is `silence`d nothing is
    passed on and nothing is lost, as when a network loses every packet for a while; while it is `cut`
    connections end as soon as they are made.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self._target = port, target
        self.delay = 0.0
        self._is_cut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.close()
        await self._end_all()

    async def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._is_cut = True
        await self._end_all()

    def silence(self) -> None:
        """Hold everything back."""
        self._flows.clear()

    def restore(self) -> None:
        """Be a wire again; what was held back is passed on."""
        self._is_cut, self.delay = False, 0.0
        self._flows.set()

    async def _end_all(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="proxied")
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            if self._is_cut:
                return
            back, forth = await asyncio.open_connection(LOOPBACK, self._target)
            ends.append(forth)
            pumps = [*map(asyncio.ensure_future, (self._pump(reader, forth), self._pump(back, writer)))]
            try:
                await asyncio.wait(pumps, return_when="FIRST_COMPLETED")
            finally:
                for pump in pumps:
                    pump.cancel()
        except (OSError, asyncio.CancelledError):
            return  # the target refuses connections, or every connection is cut
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flows.wait()
                if sink.transport.is_closing():
                    return  # closed meanwhile; uvloop raises RuntimeError for a write then
                sink.write(piece)
                await sink.drain()
