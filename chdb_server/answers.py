"""Runs a request on the engine, and gives its answer piece by piece.

Everything here blocks, and runs in worker threads.
"""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from chdb_server.connections import Connections, Link
from chdb_server.core import formats
from chdb_server.core.errors import Code, RefusedError
from chdb_server.core.request import Request
from chdb_server.inserts import insert
from chdb_server.sessions import Sessions

_CHUNK = 2**20


@dataclass(frozen=True)
class Summary:
    """What X-ClickHouse-Summary says; zeros while a streamed query still runs."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def header(self) -> str:
        """The header's JSON: all numbers are strings, as a server writes them."""
        return json.dumps({name: str(number) for name, number in vars(self).items()})


@dataclass
class Answer:
    """An answer that has begun: its first piece, and what runs the rest of the query, if there is any."""

    summary: Summary
    has_rows: bool
    first: bytes = b""
    rest: Generator[bytes] | None = None
    release: ExitStack = field(default_factory=ExitStack)

    def advance(self) -> bytes | None:
        """Return the next piece; None at the end, where the connection has been given back."""
        piece = next(self.rest, None) if self.rest else None
        if piece is None:
            self.close()
        return piece

    def close(self) -> None:
        """End the query if it still runs, and give its connection back."""
        with self.release:
            if self.rest is not None:
                self.rest.close()
                self.rest = None


class Runner:
    """Runs requests against one engine."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.sessions = Sessions(connections)

    def begin(self, request: Request, marker: str) -> Answer:
        """Run a request until its first rows are there, or all of it when it is to be answered whole.

        `marker` is what `Connections.kill` finds the query by.
        """
        with ExitStack() as stack:
            link = stack.enter_context(self._connection(request))
            stack.enter_context(_dressed(link, request, marker))
            answer = _run(link, request)
            if answer.rest is not None:
                answer.release = stack.pop_all()
            return answer

    @contextmanager
    def _connection(self, request: Request) -> Iterator[Link]:
        if (ask := request.session) is not None:
            link = self.sessions.borrow(ask, time.monotonic())
            try:
                yield link
            finally:
                self.sessions.give_back(ask, time.monotonic())
            return
        link = self.connections.open()
        try:
            yield link
        finally:
            link.close()


@contextmanager
def _dressed(link: Link, request: Request, marker: str) -> Iterator[None]:
    """Give a connection the request's database, settings and, last because it locks them, access mode.

    A session gets back what it had: settings in an address hold for their request only.
    """
    settings = {**request.settings, "log_comment": marker}
    before = (link.database(), link.values(settings)) if request.session else None
    try:
        if request.database:
            link.use(request.database)
        link.set(settings)
        if request.readonly:
            link.set({"readonly": str(request.readonly)})
        yield
    finally:
        if before is not None:
            _restore(link, request, *before)


def _restore(link: Link, request: Request, database: str, values: dict[str, str]) -> None:
    link.set(values)
    if request.database and request.statement.verb != "USE":
        link.use(database)


def _run(link: Link, request: Request) -> Answer:
    statement = request.statement
    if statement.data is not None:
        return Answer(_insert(link, request, statement.data), has_rows=False)
    if link.raw.classify_query(statement.sql)["statement_count"] > 1:
        raise RefusedError(Code.SYNTAX_ERROR, "Syntax error: Multi-statements are not allowed.")
    if statement.selects and not request.whole and formats.is_streamable(request.format):
        return _stream(link, request)
    return _whole(link, request)


def _insert(link: Link, request: Request, data: tuple[memoryview, ...]) -> Summary:
    done = insert(link, request.statement, data)
    rows, size = done.rows_written(), done.bytes_written()
    return Summary(rows, size, rows, size, rows, size, int(done.elapsed() * 1e9))


def _whole(link: Link, request: Request) -> Answer:
    result = link.raw.query(request.statement.sql, request.format, params=dict(request.binds))
    summary = Summary(
        result.storage_rows_read(),
        result.storage_bytes_read(),
        result.rows_written(),
        result.bytes_written(),
        result.rows_read(),
        result.size(),
        int(result.elapsed() * 1e9),
    )
    has_rows = request.statement.reads or result.size() > 0
    if result.size() == 0:
        return Answer(summary, has_rows, _nothing(link, request))
    if result.size() <= _CHUNK:
        return Answer(summary, has_rows, result.bytes())
    return Answer(summary, has_rows, rest=_slices(result))


def _slices(result: Any) -> Generator[bytes]:
    view = memoryview(result.get_memview().view())
    for at in range(0, len(view), _CHUNK):
        yield bytes(view[at : at + _CHUNK])


def _stream(link: Link, request: Request) -> Answer:
    stream = link.raw.send_query(request.statement.sql, request.format, params=dict(request.binds))
    first = link.raw.streaming_fetch_result(stream)
    if not first or not first.rows_read():
        return Answer(Summary(), has_rows=True, first=_nothing(link, request))
    rest = _later_blocks(link, request.format, stream)
    return Answer(Summary(), has_rows=True, first=first.bytes(), rest=rest)


def _later_blocks(link: Link, name: str, stream: Any) -> Generator[bytes]:
    """Yield all blocks but the first, without the header that each of them has."""
    try:
        while (block := link.raw.streaming_fetch_result(stream)) and block.rows_read():
            piece = block.bytes()
            yield piece[formats.header_length(name, piece) :]
    except GeneratorExit:
        link.raw.streaming_cancel_query(stream)
        raise


def _nothing(link: Link, request: Request) -> bytes:
    """Return what a server answers for no rows, where the engine says nothing at all."""
    statement = request.statement
    if not statement.selects:
        return b""
    if request.format.lower() == "native":
        rows = link.rows(b"DESCRIBE (" + statement.bare + b"\n)", request.binds)
        return formats.native_header([(row["name"], row["type"]) for row in rows])
    if formats.has_header(request.format):
        # As a subquery, since the engine would read everything once more.
        empty = b"SELECT * FROM (" + statement.bare + b"\n) LIMIT 0"
        header: bytes = link.raw.query(empty, request.format, params=dict(request.binds)).bytes()
        return header
    return b""
