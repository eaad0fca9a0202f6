"""Queries in flight: each step runs in a thread, and a query is killed when its client disconnects."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from chdb_server.admission import Message
from chdb_server.connections import ChdbEngine
from chdb_server.core.request import QueryRequest
from chdb_server.execution import QueryResult, QueryRunner

T = TypeVar("T")

_TICK_SECONDS = 0.1
_KILL_FOR_SECONDS = 2.0


class Queries:
    """Runs queries on one engine, in `at_once` threads, and stops them."""

    def __init__(self, engine: ChdbEngine, at_once: int) -> None:
        self._engine = engine
        self.runner = QueryRunner(engine)
        self._workers = ThreadPoolExecutor(at_once, "query")
        # A thread of its own, since all others may be busy with the queries to be killed.
        self._killer = ThreadPoolExecutor(1, "kill")
        self._running: set[str] = set()

    @asynccontextmanager
    async def flight(self, request: QueryRequest, gone: asyncio.Future[Message]) -> AsyncIterator["Query"]:
        """Yield a query, and end it after the block; `gone` is done when the client has disconnected."""
        query = Query(self, request, gone)
        self._running.add(query.marker)
        try:
            yield query
        finally:
            await query.close()
            if not query.abandoned:
                self._running.discard(query.marker)

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a blocking function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)

    async def kill(self, *markers: str) -> None:
        """Kill queries.  One that the engine has not started yet is not found: call it again."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._killer, self._engine.kill, markers)

    async def drain(self, grace_seconds: float) -> None:
        """Let running queries finish for `grace_seconds`, then kill those that still run."""
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + grace_seconds
        while self._running and loop.time() < kill_at + _KILL_FOR_SECONDS:
            if loop.time() >= kill_at:
                await self.kill(*self._running)
            await asyncio.sleep(_TICK_SECONDS)

    def close(self) -> bool:
        """Close the engine.  If a query did not end, return False and change nothing."""
        if self._running:
            return False
        self.runner.sessions.close()
        self._engine.close()
        return True


class Query:
    """One query in flight.

    marker: identifies it in the engine; abandoned: a thread still runs it in the engine although its task was
    cancelled, so its connection must not be touched.
    """

    def __init__(self, queries: Queries, request: QueryRequest, gone: asyncio.Future[Message]) -> None:
        self._queries = queries
        self._request = request
        self._gone = gone
        self._result: QueryResult | None = None
        self.marker = f"{request.query_id} {uuid.uuid4().hex}"
        self.abandoned = False

    async def begin(self) -> QueryResult:
        """Run the query until its first rows are available.  Raises the engine's errors."""
        self._result = await self._step(self._queries.runner.begin, self._request, self.marker)
        return self._result

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the result's pieces, while the client is connected."""
        if self._result is None:
            raise RuntimeError("a query that has not begun has no pieces")
        yield self._result.first
        while self._result.rest is not None and not self._gone.done():
            if (piece := await self._step(self._result.advance)) is not None:
                yield piece

    async def close(self) -> None:
        """End the query if it still runs, and release its connection."""
        if self._result is not None and self._result.rest is not None and not self.abandoned:
            await self._queries.in_thread(self._result.close)

    async def _step(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a step of the query; if the client disconnects meanwhile, kill it if it only reads."""
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
