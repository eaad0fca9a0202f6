"""Streams an export: reads rows at the pace of the client, and sends the file over HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import structlog
from starlette.responses import StreamingResponse

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.exports.core.assembly import Assembly, FileFormat
from services.query.exports.core.rows import BrokenAnswerError, statement
from services.query.metrics import EXPORT_ROWS
from services.query.middleware import BROKEN
from services.query.store import QueryStore
from services.runtime.clickhouse.core.statement import Pace

log = structlog.get_logger()

PACES = (Pace(1024, 0), Pace(64, 1), Pace(8, 1))
"""Large blocks are fast.  Small ones are for rows of megabytes, with which large blocks would exceed the
memory limit of a query."""

MEMORY_LIMIT_EXCEEDED = 241


async def pieces(store: QueryStore, assembly: Assembly) -> AsyncGenerator[bytes]:
    """Yield the file in pieces, some of them empty; raise QueryProblem if the store fails.

    The first piece comes with the first rows.  No more is read before a piece is consumed, and closing the
    generator cancels the query.
    """
    with store.export(assembly.left.tenant):
        yielded = assembly.begin()
        for pace in PACES:
            try:
                async with aclosing(store.blocks(statement(assembly.left), pace)) as blocks:
                    async for block in blocks:
                        # In a thread, so that encoding does not block other requests.
                        yield yielded + await asyncio.to_thread(assembly.feed, block)
                        yielded = b""
                assembly.answered()
                break
            except (QueryProblem, BrokenAnswerError) as error:
                if code_of(error) != MEMORY_LIMIT_EXCEEDED or pace == PACES[-1]:
                    raise _problem_of(error) from error
                log.info("export continues with smaller blocks", rows=pace.max_block_size, done=assembly.rows)
                assembly.again()
        yield yielded + await asyncio.to_thread(assembly.end)


def code_of(error: QueryProblem | BrokenAnswerError) -> int | None:
    """Return ClickHouse's error code of a failure before or within a result, or None."""
    code: int | None = getattr(
        error if isinstance(error, BrokenAnswerError) else error.__cause__, "code", None
    )
    return code


def _problem_of(error: QueryProblem | BrokenAnswerError) -> QueryProblem:
    if isinstance(error, QueryProblem):
        return error
    if error.code == MEMORY_LIMIT_EXCEEDED:
        return QueryProblem(ProblemCode.TOO_EXPENSIVE, "rows exceed the memory limit of a query")
    log.warning("export failed", code=error.code, error=str(error))
    return QueryProblem(
        ProblemCode.STORE_UNAVAILABLE, "ClickHouse failed during the export; try again in a moment"
    )


ROWS_HEADER = "afterword-rows"


def headers(format_: FileFormat, rows: int, encoding: str | None, now: datetime) -> Mapping[str, str]:
    """Return the headers of an export that begins at `now` and will have `rows` rows."""
    name = f"feedback-{now:%Y%m%dT%H%M%SZ}.{format_.name}"
    fixed = {
        "content-type": format_.media_type,
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-accel-buffering": "no",
        "vary": "accept-encoding",
        ROWS_HEADER: str(rows),
    }
    return fixed | ({"content-encoding": encoding} if encoding else {})


class ExportReply(StreamingResponse):
    """Sends an export.  A failure before the first rows raises QueryProblem as in any other route.

    `may_continue` is called before each piece: revoking the key ends the export.

    Pieces are sent at the pace of the client.  When it ends in any way, disconnects included, its query is
    cancelled.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        assembly: Assembly,
        headers_of: Callable[[int], Mapping[str, str]],
        may_continue: Callable[[], bool],
    ) -> None:
        super().__init__(pieces)
        self._pieces, self._assembly, self._headers_of = pieces, assembly, headers_of
        self._may_continue = may_continue
        self._broken, self._counted = False, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the export, and close its query."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            scope[BROKEN] = self._broken
            await self._pieces.aclose()

    async def stream_response(self, send: Any) -> None:
        """Send the export.  If the store fails midway, the response stays incomplete.

        The server closes the connection then, so that no client mistakes it for a whole file.
        """
        first = await anext(self._pieces)
        self.init_headers(self._headers_of(self._assembly.expected))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await self._send(send, first)
            async for piece in self._pieces:
                await self._send(send, piece)
        except QueryProblem as problem:
            rows = self._assembly.rows
            log.warning("export failed", rows=rows, code=problem.code, detail=problem.detail)
            self._broken = True
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Any, piece: bytes) -> None:
        if not self._may_continue():
            raise QueryProblem(ProblemCode.UNAUTHENTICATED, "the key was revoked, or has expired")
        EXPORT_ROWS.inc(self._assembly.rows - self._counted)
        self._counted = self._assembly.rows
        if piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
