"""The ASGI application: reads a request, runs its query, and streams the result."""

import asyncio
import uuid

import structlog

from chdb_server.admission import (
    BodyMemory,
    BodyReservation,
    ClientLeftError,
    Message,
    QuerySlots,
    Receive,
    Scope,
    Send,
    read_body,
)
from chdb_server.connections import ChdbEngine
from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import ClickHouseCode, QueryRefusedError, failure_of
from chdb_server.core.request import (
    Head,
    QueryRequest,
    decode_body,
    is_compressed,
    read_head,
    read_request,
)
from chdb_server.execution import QueryResult
from chdb_server.queries import Queries, Query
from chdb_server.replies import Replies, StreamedReply
from chdb_server.settings import WarehouseSettings

log = structlog.get_logger()

# The engine raises RuntimeError, or UnicodeDecodeError if its message is not UTF-8; others are our defects.
_ENGINE_ERRORS = (RuntimeError, UnicodeDecodeError, QueryRefusedError)
_QUICK_BYTES = 2**16
"""Bodies up to this size are parsed in the event loop, faster than a thread would be started."""
_OK = frozenset({"/ping", "/replicas_status"})
_NOT_FOUND = b"Not found: try /, /ping or /?query=SELECT+1\n"


class Warehouse:
    """ClickHouse's HTTP interface over one engine."""

    def __init__(self, engine: ChdbEngine, settings: WarehouseSettings) -> None:
        self._settings = settings
        self._accounts = settings.accounts()
        self._replies = Replies(engine.timezone)
        self._queries = Queries(engine, settings.warehouse_max_queries)
        self._slots = QuerySlots(settings.warehouse_max_queries, settings.warehouse_queue_seconds)
        self._body_memory = BodyMemory(settings.warehouse_max_waiting_bytes)
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request."""
        if scope["type"] != "http":
            return
        try:
            await self._respond(scope, receive, send)
        except ClientLeftError:
            log.debug("client left")
        except Exception:
            # A defect of ours: uvicorn sends 500, or closes the connection in the middle of a reply.
            log.exception("request failed", path=scope["path"])
            raise

    async def drain(self) -> None:
        """Refuse new queries, and return once the running ones have ended or were killed."""
        self._stopping = True
        await self._queries.drain(self._settings.warehouse_grace_seconds)

    def close(self) -> bool:
        """Close the engine.  If a query did not end, return False and change nothing."""
        return self._queries.close()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _OK:
            await self._replies.text(send, 200, b"Ok.\n")
            return
        try:
            self._refuse_while_stopping()
            head = read_head(scope["method"], scope["headers"], scope["query_string"], self._accounts)
            if scope["path"] != "/":
                await self._replies.text(send, 404, _NOT_FOUND)
            elif head.method in ("GET", "HEAD") and "query" not in head.params:
                await self._replies.text(send, 200, b"Ok.\n")
            else:
                await self._admit(head, receive, send)
        except QueryRefusedError as error:
            # uvicorn reads and discards the rest of the body, so that the client reads this reply.
            await self._replies.failure(send, failure_of(error))

    async def _admit(self, head: Head, receive: Receive, send: Send) -> None:
        """Read the body, then wait for a slot."""
        with self._body_memory.reservation() as reservation:
            body = await self._body(head, receive, reservation)
            # After the body, the only other message is the client's disconnect.
            gone = asyncio.ensure_future(receive())
            try:
                async with self._slots.slot():
                    self._refuse_while_stopping()
                    request = await self._read(head, body, reservation)
                    await self._run(request, gone, send)
            finally:
                gone.cancel()

    async def _body(self, head: Head, receive: Receive, reservation: BodyReservation) -> bytes:
        limit = self._settings.warehouse_max_body_bytes
        if int(head.headers.get("content-length", "0")) > limit:
            raise TooLargeError(limit)
        seconds = self._settings.warehouse_client_timeout_seconds
        return await read_body(receive, reservation, max_bytes=limit, timeout_seconds=seconds)

    async def _read(self, head: Head, body: bytes, reservation: BodyReservation) -> QueryRequest:
        if len(body) <= _QUICK_BYTES and not is_compressed(head):
            return self._request(head, body, reservation)
        return await self._queries.in_thread(self._request, head, body, reservation)

    def _request(self, head: Head, body: bytes, reservation: BodyReservation) -> QueryRequest:
        decoded = decode_body(head, body, self._settings.warehouse_max_body_bytes)
        if decoded is not body:
            reservation.take(len(decoded))
        return read_request(head, decoded, str(uuid.uuid4()))

    async def _run(self, request: QueryRequest, gone: asyncio.Future[Message], send: Send) -> None:
        async with self._queries.flight(request, gone) as query:
            try:
                result = await query.begin()
            except _ENGINE_ERRORS as error:
                failure = failure_of(error)
                log.info("query failed", query_id=request.query_id, code=failure.code)
                await self._replies.failure(send, failure, request.query_id)
                return
            await self._stream(query, result, StreamedReply(self._replies, request, send))

    async def _stream(self, query: Query, result: QueryResult, reply: StreamedReply) -> None:
        await reply.begin(result.summary, has_rows=result.has_rows)
        try:
            async for piece in query.pieces():
                async with asyncio.timeout(self._settings.warehouse_client_timeout_seconds):
                    await reply.piece(piece)
        except _ENGINE_ERRORS as error:
            failure = failure_of(error)
            log.info("reply broken off", query_id=reply.query_id, code=failure.code)
            await reply.fail(failure)
        except TimeoutError:
            log.info("reply not read in time", query_id=reply.query_id)
        else:
            await reply.end()

    def _refuse_while_stopping(self) -> None:
        if self._stopping:
            raise QueryRefusedError(ClickHouseCode.ABORTED, "The warehouse is shutting down.")
