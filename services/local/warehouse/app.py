"""The ASGI application: from a request on the wire to an answer on the wire."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from services.local.warehouse import bodies, encodings
from services.local.warehouse.access import Account
from services.local.warehouse.admission import Room, Share, Turns
from services.local.warehouse.answers import Answer, Runner
from services.local.warehouse.asgi import Message, Receive, Scope, Send
from services.local.warehouse.bodies import ClientLeftError
from services.local.warehouse.connections import Connections
from services.local.warehouse.errors import Code, RefusedError, failure_of
from services.local.warehouse.replies import Replies, StreamedReply
from services.local.warehouse.request import Head, Request, read_head, read_request
from services.local.warehouse.settings import WarehouseSettings

log = structlog.get_logger()
T = TypeVar("T")

_TICK_SECONDS = 0.1
_KILL_FOR_SECONDS = 2.0
# The engine raises RuntimeError, or UnicodeDecodeError when its message is not UTF-8; anything else is a defect.
_ENGINE_ERRORS = (RuntimeError, UnicodeDecodeError, RefusedError)
_OK = frozenset({"/ping", "/replicas_status"})


@dataclass
class Query:
    """A query in flight.

    gone: done when its client has left; abandoned: a thread is still in the engine for it, so that its connection
    must not be touched.
    """

    marker: str
    gone: asyncio.Future[Message]
    may_be_killed: bool
    abandoned: bool = False


class Warehouse:
    """ClickHouse's HTTP interface over one engine."""

    def __init__(self, connections: Connections, settings: WarehouseSettings) -> None:
        self._connections = connections
        self._settings = settings
        self._accounts: Mapping[str, Account] = settings.accounts()
        self._runner = Runner(connections)
        self._replies = Replies(connections.timezone)
        self._turns = Turns(settings.warehouse_max_queries, settings.warehouse_queue_seconds)
        self._room = Room(settings.warehouse_max_waiting_bytes)
        self._workers = ThreadPoolExecutor(settings.warehouse_max_queries, "query")
        # Killing needs a thread when all others are busy with what is to be killed.
        self._killer = ThreadPoolExecutor(1, "kill")
        self._running: set[str] = set()
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        try:
            await self._respond(scope, receive, send)
        except ClientLeftError:
            log.debug("client left")

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._stopping:
                raise RefusedError(Code.ABORTED, "The warehouse is shutting down.")
            if scope["path"] in _OK:
                await self._replies.text(send, 200, b"Ok.\n")
                return
            head = self._head(scope)
        except RefusedError as error:
            await self._discard(receive)
            await self._replies.failure(send, failure_of(error))
            return
        if scope["path"] != "/":
            await self._replies.text(
                send, 404, b"There is no handle here: try /, /ping or /?query=SELECT+1\n"
            )
        elif head.method in ("GET", "HEAD") and "query" not in head.params:
            await self._replies.text(send, 200, b"Ok.\n")
        else:
            await self._query(head, receive, send)

    async def drain(self) -> None:
        """Take no more queries, let the running ones finish for a while, then kill what still runs."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        kill_at = loop.time() + self._settings.warehouse_grace_seconds
        while self._running and loop.time() < kill_at + _KILL_FOR_SECONDS:
            if loop.time() >= kill_at:
                await self._kill(*self._running)
            await asyncio.sleep(_TICK_SECONDS)

    def close(self) -> bool:
        """Close the engine; False, and nothing is touched, when a query would not end."""
        if self._running:
            return False
        self._runner.sessions.close()
        self._connections.close()
        return True

    def _head(self, scope: Scope) -> Head:
        return read_head(scope["method"], scope["headers"], scope["query_string"], self._accounts)

    async def _query(self, head: Head, receive: Receive, send: Send) -> None:
        with self._room.share() as share:
            try:
                body = await self._body(head, receive, share)
            except RefusedError as error:
                await self._discard(receive)
                await self._replies.failure(send, failure_of(error))
                return
            # After the body, the only message left is that the client has gone.
            gone = asyncio.ensure_future(receive())
            try:
                async with self._turns.turn():
                    await self._run(head, body, share, gone, send)
            except RefusedError as error:
                await self._replies.failure(send, failure_of(error))
            finally:
                gone.cancel()

    async def _body(self, head: Head, receive: Receive, share: Share) -> bytes:
        limit = self._settings.warehouse_max_body_bytes
        if int(head.headers.get("content-length", "0")) > limit:
            raise encodings.TooLargeError(limit)
        seconds = self._settings.warehouse_client_timeout_seconds
        return await bodies.read(receive, share, max_bytes=limit, timeout_seconds=seconds)

    async def _discard(self, receive: Receive) -> None:
        limit = self._settings.warehouse_max_body_bytes
        seconds = self._settings.warehouse_client_timeout_seconds
        await bodies.discard(receive, max_bytes=limit, timeout_seconds=seconds)

    async def _run(
        self, head: Head, body: bytes, share: Share, gone: asyncio.Future[Message], send: Send
    ) -> None:
        if self._stopping:
            raise RefusedError(Code.ABORTED, "The warehouse is shutting down.")
        if gone.done():
            raise ClientLeftError
        request = await self._work(self._request, head, body, share)
        query = Query(f"{request.query_id} {uuid.uuid4().hex}", gone, may_be_killed=request.statement.reads)
        self._running.add(query.marker)
        try:
            await self._answer(query, request, send)
        finally:
            if not query.abandoned:
                self._running.discard(query.marker)

    def _request(self, head: Head, body: bytes, share: Share) -> Request:
        limit = self._settings.warehouse_max_body_bytes
        decoded = encodings.decode(head.headers.get("content-encoding", ""), body, limit)
        if decoded is not body:
            share.take(len(decoded))
        return read_request(head, decoded, str(uuid.uuid4()))

    async def _answer(self, query: Query, request: Request, send: Send) -> None:
        try:
            answer = await self._step(query, self._runner.begin, request, query.marker)
        except _ENGINE_ERRORS as error:
            log.info("query failed", query_id=request.query_id, code=failure_of(error).code)
            await self._replies.failure(send, failure_of(error), request.query_id)
            return
        try:
            await self._stream(query, request, answer, send)
        finally:
            if not query.abandoned:
                await self._work(answer.close)

    async def _stream(self, query: Query, request: Request, answer: Answer, send: Send) -> None:
        reply = StreamedReply(self._replies, request, send)
        await reply.begin(answer.summary, has_rows=answer.has_rows)
        try:
            while (piece := await self._step(query, next, answer.pieces, None)) is not None:
                if query.gone.done():
                    raise ClientLeftError
                async with asyncio.timeout(self._settings.warehouse_client_timeout_seconds):
                    await reply.piece(piece)
        except _ENGINE_ERRORS as error:
            log.info("query failed while its answer was sent", query_id=request.query_id)
            await reply.fail(failure_of(error))
        except TimeoutError:
            log.info("answer left unread", query_id=request.query_id)
        else:
            await reply.end()

    async def _step(self, query: Query, function: Callable[..., T], *arguments: object) -> T:
        """Run a part of a query in a thread; should its client leave meanwhile, kill it if it only reads.

        Again and again, since a query that has not quite begun cannot be found yet.
        """
        step = self._in_thread(self._workers, function, *arguments)
        try:
            await asyncio.wait({step, query.gone}, return_when=asyncio.FIRST_COMPLETED)
            while not step.done() and query.may_be_killed:
                await self._kill(query.marker)
                await asyncio.wait({step}, timeout=_TICK_SECONDS)
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            query.abandoned = not step.done()
            raise

    async def _kill(self, *markers: str) -> None:
        await self._in_thread(self._killer, self._connections.kill, markers)

    async def _work(self, function: Callable[..., T], *arguments: object) -> T:
        return await self._in_thread(self._workers, function, *arguments)

    @staticmethod
    def _in_thread(
        pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: object
    ) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
