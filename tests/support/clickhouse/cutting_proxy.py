"""A way to a server that cuts its answers: a TCP proxy which closes a connection after so many bytes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 1 << 14


class Cutting:
    """Passes everything on, until told otherwise."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.url = ""
        self.cuts: deque[int] = deque()
        """Bytes of an answer after which the next connections are cut, one after the other."""
        self.stalls = False
        """Whether such a connection stays open, and silent, instead of being closed."""
        self.stalled = asyncio.Event()
        self.questions: list[str] = []
        """The first line of each connection's first request."""
        self.open: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection."""
        task = asyncio.create_task(self._pass_on(reader, writer))
        self.open.add(task)
        task.add_done_callback(self.open.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        left = self.cuts.popleft() if self.cuts else None
        asking = asyncio.create_task(self._ask(reader, there[1]))
        try:
            while piece := await there[0].read(_PIECE if left is None else min(_PIECE, left)):
                writer.write(piece)
                await writer.drain()
                left = None if left is None else left - len(piece)
                if left == 0:
                    break
            if left == 0 and self.stalls:
                self.stalled.set()
                await asking
        except ConnectionError:
            """One of both has left."""
        finally:
            asking.cancel()
            for one in (writer, there[1]):
                one.close()
                with suppress(ConnectionError):
                    await one.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        first = True
        while piece := await reader.read(_PIECE):
            if first:
                self.questions.append(piece.partition(b"\r\n")[0].decode())
            first = False
            there.write(piece)


@asynccontextmanager
async def cutting(target: str) -> AsyncIterator[Cutting]:
    """Serve a way to `target`."""
    way = Cutting(target)
    async with await asyncio.start_server(way.serve, "127.0.0.1", 0) as server:
        way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield way
        for task in way.open:
            task.cancel()
        await asyncio.gather(*way.open, return_exceptions=True)
