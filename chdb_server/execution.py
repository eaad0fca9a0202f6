"""Runs a request on the engine, and yields its result piece by piece.

Everything here blocks, and runs in worker threads.
"""

import json
import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import Any

from chdb_server.connections import ChdbConnection, ChdbEngine, Sessions, quoted
from chdb_server.core import formats
from chdb_server.core.errors import ClickHouseCode, QueryRefusedError
from chdb_server.core.request import QueryRequest
from chdb_server.core.statements import SqlStatement

_CHUNK = 2**20


@dataclass(frozen=True)
class Summary:
    """The content of X-ClickHouse-Summary; zeros for a streamed query, which still runs."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def header(self) -> str:
        """Return the header's JSON, with numbers as strings, as a server sends them."""
        return json.dumps({name: str(number) for name, number in vars(self).items()})


@dataclass
class QueryResult:
    """A result that has begun: its first piece, and the generator of the rest, if there is any."""

    summary: Summary
    has_rows: bool
    first: bytes = b""
    rest: Generator[bytes] | None = None
    release: ExitStack = field(default_factory=ExitStack)

    def advance(self) -> bytes | None:
        """Return the next piece; None at the end, once the connection is released."""
        piece = next(self.rest, None) if self.rest else None
        if piece is None:
            self.close()
        return piece

    def close(self) -> None:
        """End the query if it still runs, and release its connection."""
        with self.release:
            if self.rest is not None:
                self.rest.close()
                self.rest = None


class QueryRunner:
    """Runs requests on one engine."""

    def __init__(self, engine: ChdbEngine) -> None:
        self.engine = engine
        self.sessions = Sessions(engine)

    def begin(self, request: QueryRequest, marker: str) -> QueryResult:
        """Run a request until its first rows are available, or to its end if the result must be complete.

        `ChdbEngine.kill` finds the query by `marker`.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(self._connection_for(request))
            stack.enter_context(_prepared(connection, request, marker))
            result = _run(connection, request)
            if result.rest is not None:
                result.release = stack.pop_all()
            return result

    @contextmanager
    def _connection_for(self, request: QueryRequest) -> Iterator[ChdbConnection]:
        if (session := request.session) is not None:
            connection = self.sessions.borrow(session, time.monotonic())
            try:
                yield connection
            finally:
                self.sessions.give_back(session, time.monotonic())
            return
        connection = self.engine.open()
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def _prepared(connection: ChdbConnection, request: QueryRequest, marker: str) -> Iterator[None]:
    """Set the request's database, settings and, last because it locks them, access mode, for the block.

    For a session the earlier values are restored: settings in a URL apply to their request only.
    """
    settings = {**request.settings, "log_comment": marker}
    before = (connection.database(), connection.values(settings)) if request.session else None
    try:
        if request.database:
            connection.use(request.database)
        connection.set(settings)
        if request.readonly:
            connection.set({"readonly": str(request.readonly)})
        yield
    finally:
        if before is not None:
            _restore(connection, request, *before)


def _restore(
    connection: ChdbConnection, request: QueryRequest, database: str, values: dict[str, str]
) -> None:
    connection.set(values)
    if request.database and request.statement.verb != "USE":
        connection.use(database)


def _run(connection: ChdbConnection, request: QueryRequest) -> QueryResult:
    statement = request.statement
    if statement.data is not None:
        return QueryResult(_insert(connection, request, statement.data), has_rows=False)
    if connection.raw.classify_query(statement.sql)["statement_count"] > 1:
        raise QueryRefusedError(
            ClickHouseCode.SYNTAX_ERROR, "Syntax error: Multi-statements are not allowed."
        )
    if statement.selects and not request.whole and formats.is_streamable(request.format):
        return _stream(connection, request)
    return _whole(connection, request)


def _insert(connection: ChdbConnection, request: QueryRequest, data: tuple[memoryview, ...]) -> Summary:
    inserted = _insert_data(connection, request.statement, data)
    rows, size = inserted.rows_written(), inserted.bytes_written()
    return Summary(rows, size, rows, size, rows, size, int(inserted.elapsed() * 1e9))


def _whole(connection: ChdbConnection, request: QueryRequest) -> QueryResult:
    result = connection.raw.query(request.statement.sql, request.format, params=dict(request.binds))
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
        return QueryResult(summary, has_rows, _empty_result(connection, request))
    if result.size() <= _CHUNK:
        return QueryResult(summary, has_rows, result.bytes())
    return QueryResult(summary, has_rows, rest=_slices(result))


def _slices(result: Any) -> Generator[bytes]:
    view = memoryview(result.get_memview().view())
    for at in range(0, len(view), _CHUNK):
        yield bytes(view[at : at + _CHUNK])


def _stream(connection: ChdbConnection, request: QueryRequest) -> QueryResult:
    stream = connection.raw.send_query(request.statement.sql, request.format, params=dict(request.binds))
    first = connection.raw.streaming_fetch_result(stream)
    if not first or not first.rows_read():
        return QueryResult(Summary(), has_rows=True, first=_empty_result(connection, request))
    rest = _later_blocks(connection, request.format, stream)
    return QueryResult(Summary(), has_rows=True, first=first.bytes(), rest=rest)


def _later_blocks(connection: ChdbConnection, name: str, stream: Any) -> Generator[bytes]:
    """Yield all blocks after the first, without their headers."""
    try:
        while (block := connection.raw.streaming_fetch_result(stream)) and block.rows_read():
            piece = block.bytes()
            yield piece[formats.header_length(name, piece) :]
    except GeneratorExit:
        connection.raw.streaming_cancel_query(stream)
        raise


def _empty_result(connection: ChdbConnection, request: QueryRequest) -> bytes:
    """Return a server's body for a result without rows, which the engine leaves empty."""
    statement = request.statement
    if not statement.selects:
        return b""
    if request.format.lower() == "native":
        rows = connection.rows(b"DESCRIBE (" + statement.bare + b"\n)", request.binds)
        return formats.native_header([(row["name"], row["type"]) for row in rows])
    if formats.has_header(request.format):
        # As a subquery, since the engine would read all data again.
        empty = b"SELECT * FROM (" + statement.bare + b"\n) LIMIT 0"
        header: bytes = connection.raw.query(empty, request.format, params=dict(request.binds)).bytes()
        return header
    return b""


def _insert_data(connection: ChdbConnection, statement: SqlStatement, data: Iterable[memoryview]) -> Any:
    """Run an INSERT with data in the format that it names, and return the engine's result.

    The engine gets the data as a file in memory, which a complete statement names.  Two simpler methods lose
    rows.  The engine's streaming insert (`send_insert`) reports success for rows that are refused after they
    were parsed (a violated constraint, a memory limit, too many parts).  Data written behind the statement
    loses its leading blanks, and a Native block of ten columns begins with a newline.
    """
    with _file(data) as path:
        # On lines of their own, since a comment may precede them.
        source = f"\nFROM INFILE {quoted(path)}\n".encode()
        shape = f"\nFORMAT {statement.format}".encode()
        return connection.raw.query(statement.sql + source + statement.tail + shape, "Null")


@contextmanager
def _file(data: Iterable[memoryview]) -> Iterator[str]:
    """Yield the path of a file with the data, in memory if the system supports it."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("insert"), "wb") as file:
            file.writelines(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with NamedTemporaryFile("wb") as file:
            file.writelines(data)
            file.flush()
            yield file.name
