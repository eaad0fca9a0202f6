"""Over a real socket: an export is read no faster than its reader takes it, and a revoked key ends it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.query.exports.streaming import ExportReply
from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits
from tests.support.eventually import eventually
from tests.support.http.server import serving

PIECE, PIECES = b"x" * (1 << 20), 200


class Counting:
    """An assembly, as far as a reply asks it."""

    rows = 0
    expected = PIECES


class Export:
    """An application whose every answer is an export of 200 MiB."""

    def __init__(self) -> None:
        self.assembly = Counting()
        self.may_go_on = True
        self.is_over = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        assembly: Any = self.assembly
        reply = ExportReply(self._pieces(), assembly, lambda _rows: {}, lambda: self.may_go_on)
        await reply(scope, receive, send)

    async def _pieces(self) -> AsyncGenerator[bytes]:
        try:
            for _ in range(PIECES):
                self.assembly.rows += 1
                yield PIECE
        finally:
            self.is_over = True


@pytest.fixture
def export() -> Export:
    """An export that nobody has asked for yet."""
    return Export()


@asynccontextmanager
async def asked(export: Export, bounds: ConnectionLimits) -> AsyncIterator[asyncio.StreamReader]:
    """Ask for the export, and read nothing of it."""
    async with serving(export, bounded(bounds)) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        try:
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            yield reader
        finally:
            writer.close()


async def stood_still(export: Export) -> int:
    """Wait until nothing more is read from the store, and return how much was."""
    before = 0

    def stands() -> bool:
        nonlocal before
        before, last = export.assembly.rows, before
        return 0 < before == last

    await eventually(stands, every=0.2)
    return before


async def test_nothing_is_read_ahead_of_a_reader_who_waits_and_all_of_it_once_it_reads(
    export: Export,
) -> None:
    """What is read without a taker is what buffers hold; the file is whole in the end."""
    async with asked(export, ConnectionLimits(send_seconds=600)) as reader:
        assert await stood_still(export) < PIECES / 4
        size = 0
        while piece := await asyncio.wait_for(reader.read(1 << 20), 60):
            size += len(piece)
    assert size > len(PIECE) * PIECES
    assert export.assembly.rows == PIECES


async def test_a_reader_who_never_reads_is_cut_off_and_its_question_ends(export: Export) -> None:
    """So its place is free again, and ClickHouse works for nobody."""
    async with asked(export, ConnectionLimits(send_seconds=0.4)):
        await eventually(lambda: export.is_over)


async def test_a_key_that_is_revoked_ends_the_export(export: Export) -> None:
    """At its next piece, without the end that a whole file has."""
    async with asked(export, ConnectionLimits()) as reader:
        await stood_still(export)
        export.may_go_on = False
        found = b""
        while piece := await asyncio.wait_for(reader.read(1 << 20), 60):
            found = piece
    assert export.is_over
    assert not found.endswith(b"0\r\n\r\n")
    assert export.assembly.rows < PIECES / 4
