"""The HTTP answer of an export: a file to be saved, and a transfer that breaks where the store fails."""

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime
from typing import Any

import structlog
from starlette.responses import StreamingResponse

from services.query.core.problems import Code, Problem
from services.query.exports.core.assembly import Assembly
from services.query.exports.core.formats import Format
from services.query.measured import BROKEN
from services.query.metrics import EXPORT_ROWS

log = structlog.get_logger()

ROWS_HEADER = "afterword-rows"


def headers(format_: Format, rows: int, encoding: str | None, now: datetime) -> Mapping[str, str]:
    """Return the headers of an export that begins now and will have so many rows."""
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
    """Sends an export.  A failure before its first rows are there is a Problem like any other.

    `may_go_on` is asked before each piece: a key that was revoked meanwhile ends it.

    Every piece waits until the reader has taken the ones before, but for what fits into its connection's
    buffers.  However it ends, also by the reader's leaving, nothing of it goes on running.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        assembly: Assembly,
        heads: Callable[[int], Mapping[str, str]],
        may_go_on: Callable[[], bool],
    ) -> None:
        super().__init__(pieces)
        self._pieces, self._assembly, self._heads = pieces, assembly, heads
        self._may_go_on = may_go_on
        self._broken, self._counted = False, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send everything, or break off."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            scope[BROKEN] = self._broken
            await self._pieces.aclose()

    async def stream_response(self, send: Any) -> None:
        """Send everything.  Where the store fails on the way the answer stays without its end.

        The server closes the connection then: no reader takes such a transfer for a whole file.
        """
        first = await anext(self._pieces)
        self.init_headers(self._heads(self._assembly.expected))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await self._send(send, first)
            async for piece in self._pieces:
                await self._send(send, piece)
        except Problem as problem:
            rows = self._assembly.rows
            log.warning("export broken off", rows=rows, code=problem.code, detail=problem.detail)
            self._broken = True
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Any, piece: bytes) -> None:
        if not self._may_go_on():
            raise Problem(Code.UNAUTHENTICATED, "the key was revoked, or has expired")
        EXPORT_ROWS.inc(self._assembly.rows - self._counted)
        self._counted = self._assembly.rows
        if piece:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
