"""Queries in flight: each step runs in a thread, and queries that nobody waits for are killed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from chdb_server.answers import Answer, Runner
from chdb_server.asgi import Message
from chdb_server.connections import Connections
from chdb_server.core.request import Request

T = TypeVar("T")

_TICK_SECONDS = 0.1
_KILL_FOR_SECONDS = 2.0


class Queries:
    """Runs queries on one engine, at most so many at once, and stops them."""

    def __init__(self, connections: Connections, at_once: int) -> None:
        self._connections = connections
        self.runner = Runner(connections)
        self._workers = ThreadPoolExecutor(at_once, "query")
        # Killing needs a thread when all others are busy with what is to be killed.
        self._killer = ThreadPoolExecutor(1, "kill")
        self._running: set[str] = set()

    @asynccontextmanager
    async def flight(self, request: Request, gone: asyncio.Future[Message]) -> AsyncIterator["Query"]:
        """Give the block a query that is ended after it; `gone` is done when the client has left."""
        query = Query(self, request, gone)
        self._running.add(query.marker)
        try:
            yield query
        finally:
            await query.close()
            if not query.abandoned:
                self._running.discard(query.marker)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)

    async def kill(self, *markers: str) -> None:
        """End queries.  One that has not quite begun is not found: ask again."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._killer, self._connections.kill, markers)

    async def drain(self, grace_seconds: float) -> None:
        """Let the running queries finish for a while, then kill those that still run."""
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + grace_seconds
        while self._running and loop.time() < kill_at + _KILL_FOR_SECONDS:
            if loop.time() >= kill_at:
                await self.kill(*self._running)
            await asyncio.sleep(_TICK_SECONDS)

    def close(self) -> bool:
        """Close the engine.  False, and nothing is touched, when a query would not end."""
        if self._running:
            return False
        self.runner.sessions.close()
        self._connections.close()
        return True


class Query:
    """One query in flight.

    marker: what the engine finds it by; abandoned: a thread is still in the engine for it though nobody waits
    for it any longer, so that its connection must not be touched.
    """

    def __init__(self, queries: Queries, request: Request, gone: asyncio.Future[Message]) -> None:
        self._queries = queries
        self._request = request
        self._gone = gone
        self._answer: Answer | None = None
        self.marker = f"{request.query_id} {uuid.uuid4().hex}"
        self.abandoned = False

    async def begin(self) -> Answer:
        """Run the query until its first rows are there.  Raises what the engine raises."""
        self._answer = await self._step(self._queries.runner.begin, self._request, self.marker)
        return self._answer

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the answer's pieces, as long as there is somebody to read them."""
        if self._answer is None:
            raise RuntimeError("a query that has not begun has no pieces")
        yield self._answer.first
        while self._answer.rest is not None and not self._gone.done():
            if (piece := await self._step(self._answer.advance)) is not None:
                yield piece

    async def close(self) -> None:
        """End the query if it still runs, and give its connection back."""
        if self._answer is not None and self._answer.rest is not None and not self.abandoned:
            await self._queries.in_thread(self._answer.close)

    async def _step(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a part of the query; should the client leave meanwhile, kill it if it only reads."""
        step: asyncio.Future[T] = asyncio.ensure_future(self._queries.in_thread(function, *arguments))
        try:
            await asyncio.wait((step, self._gone), return_when=asyncio.FIRST_COMPLETED)
            while self._request.statement.reads and not step.done():
                await self._queries.kill(self.marker)
                await asyncio.wait((step,), timeout=_TICK_SECONDS)
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            self.abandoned = not step.done()
            raise
