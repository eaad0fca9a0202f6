"""The ASGI application: from a request on the wire to an answer on the wire."""

import asyncio
import uuid

import structlog

from chdb_server import bodies
from chdb_server.admission import Room, Share, Turns
from chdb_server.answers import Answer
from chdb_server.asgi import Message, Receive, Scope, Send
from chdb_server.bodies import ClientLeftError
from chdb_server.connections import Connections
from chdb_server.core.encodings import TooLargeError
from chdb_server.core.errors import Code, RefusedError, failure_of
from chdb_server.core.request import (
    Head,
    Request,
    decode_body,
    is_compressed,
    read_head,
    read_request,
)
from chdb_server.queries import Queries, Query
from chdb_server.replies import Replies, StreamedReply
from chdb_server.settings import WarehouseSettings

log = structlog.get_logger()

# The engine raises RuntimeError, or UnicodeDecodeError when its message is not UTF-8; all else is our defect.
_ENGINE_ERRORS = (RuntimeError, UnicodeDecodeError, RefusedError)
_QUICK_BYTES = 2**16
"""A body that is read in less time than a thread takes to hear of it."""
_OK = frozenset({"/ping", "/replicas_status"})
_NOWHERE = b"Nothing is here: try /, /ping or /?query=SELECT+1\n"


class Warehouse:
    """ClickHouse's HTTP interface over one engine."""

    def __init__(self, connections: Connections, settings: WarehouseSettings) -> None:
        self._settings = settings
        self._accounts = settings.accounts()
        self._replies = Replies(connections.timezone)
        self._queries = Queries(connections, settings.warehouse_max_queries)
        self._turns = Turns(settings.warehouse_max_queries, settings.warehouse_queue_seconds)
        self._room = Room(settings.warehouse_max_waiting_bytes)
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        try:
            await self._respond(scope, receive, send)
        except ClientLeftError:
            log.debug("client left")
        except Exception:
            # A defect of ours: uvicorn answers 500, or breaks the answer off.
            log.exception("request failed", path=scope["path"])
            raise

    async def drain(self) -> None:
        """Take no more queries, and see the running ones end."""
        self._stopping = True
        await self._queries.drain(self._settings.warehouse_grace_seconds)

    def close(self) -> bool:
        """Close the engine.  False, and nothing is touched, when a query would not end."""
        return self._queries.close()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _OK:
            await self._replies.text(send, 200, b"Ok.\n")
            return
        try:
            self._refuse_while_stopping()
            head = read_head(scope["method"], scope["headers"], scope["query_string"], self._accounts)
            if scope["path"] != "/":
                await self._replies.text(send, 404, _NOWHERE)
            elif head.method in ("GET", "HEAD") and "query" not in head.params:
                await self._replies.text(send, 200, b"Ok.\n")
            else:
                await self._admit(head, receive, send)
        except RefusedError as error:
            # What is still to come of the body is read and dropped by uvicorn, so that the client reads this.
            await self._replies.failure(send, failure_of(error))

    async def _admit(self, head: Head, receive: Receive, send: Send) -> None:
        """Take the body in, then wait for a turn."""
        with self._room.share() as share:
            body = await self._body(head, receive, share)
            # After the body, the only message left is that the client has gone.
            gone = asyncio.ensure_future(receive())
            try:
                async with self._turns.turn():
                    self._refuse_while_stopping()
                    request = await self._read(head, body, share)
                    await self._answer(request, gone, send)
            finally:
                gone.cancel()

    async def _body(self, head: Head, receive: Receive, share: Share) -> bytes:
        limit = self._settings.warehouse_max_body_bytes
        if int(head.headers.get("content-length", "0")) > limit:
            raise TooLargeError(limit)
        seconds = self._settings.warehouse_client_timeout_seconds
        return await bodies.read(receive, share, max_bytes=limit, timeout_seconds=seconds)

    async def _read(self, head: Head, body: bytes, share: Share) -> Request:
        if len(body) <= _QUICK_BYTES and not is_compressed(head):
            return self._request(head, body, share)
        return await self._queries.in_thread(self._request, head, body, share)

    def _request(self, head: Head, body: bytes, share: Share) -> Request:
        decoded = decode_body(head, body, self._settings.warehouse_max_body_bytes)
        if decoded is not body:
            share.take(len(decoded))
        return read_request(head, decoded, str(uuid.uuid4()))

    async def _answer(self, request: Request, gone: asyncio.Future[Message], send: Send) -> None:
        async with self._queries.flight(request, gone) as query:
            try:
                answer = await query.begin()
            except _ENGINE_ERRORS as error:
                failure = failure_of(error)
                log.info("query failed", query_id=request.query_id, code=failure.code)
                await self._replies.failure(send, failure, request.query_id)
                return
            await self._stream(query, answer, StreamedReply(self._replies, request, send))

    async def _stream(self, query: Query, answer: Answer, reply: StreamedReply) -> None:
        await reply.begin(answer.summary, has_rows=answer.has_rows)
        try:
            async for piece in query.pieces():
                async with asyncio.timeout(self._settings.warehouse_client_timeout_seconds):
                    await reply.piece(piece)
        except _ENGINE_ERRORS as error:
            failure = failure_of(error)
            log.info("answer broken off", query_id=reply.query_id, code=failure.code)
            await reply.fail(failure)
        except TimeoutError:
            log.info("answer left unread", query_id=reply.query_id)
        else:
            await reply.end()

    def _refuse_while_stopping(self) -> None:
        if self._stopping:
            raise RefusedError(Code.ABORTED, "The warehouse is shutting down.")
