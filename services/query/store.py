"""ClickHouse as the query service sees it: a few read-only questions at a time, each within its limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
import orjson
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from services.query.metrics import EXPORT_ROWS, EXPORTS, STORE_READY, STORE_SECONDS, STORE_WAITING
from services.query.problems import Code, Problem
from services.query.settings import QuerySettings
from services.query.statements import Limits, Statement
from services.runtime.clickhouse import connect

log = structlog.get_logger()

Row = dict[str, Any]

FAILURES = (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError)

EXPENSIVE = {
    158: "it would read more rows than a question may",
    159: "it took longer than a question may",
    160: "it would take longer than a question may",
    241: "it needs more memory than a question may",
    307: "it would read more bytes than a question may",
    396: "its answer is larger than an answer may be",
}
"""ClickHouse's codes of questions that break a limit: the caller's to mend."""


class Store(Protocol):
    """Answers statements."""

    async def rows(self, statement: Statement) -> list[Row]:
        """Return all rows, by column name; raise Problem."""

    def blocks(self, statement: Statement) -> AsyncIterator[Sequence[Sequence[Any]]]:
        """Yield rows in blocks as they are read, within the limits of an export; raise Problem."""


class ClickHouseStore:
    """Asks ClickHouse.  The connection is made when it is first needed, and again after it was lost."""

    def __init__(self, settings: QuerySettings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._turns = asyncio.Semaphore(settings.query_max_concurrent)
        self._exports = settings.query_max_exports
        self.problem: str | None = "not connected yet"
        """What is wrong with the connection, or None."""

    async def rows(self, statement: Statement) -> list[Row]:
        """Return all rows, by column name; times are RFC 3339 text, 64-bit numbers are ints."""
        async with self._turn(), self._timed(), self._translated():
            client = await self._connected()
            answer = await client.raw_query(
                statement.sql,
                statement.parameters,
                settings=self._limits(Limits.QUESTION),
                fmt="JSONEachRow",
            )
        return [orjson.loads(line) for line in answer.splitlines()]

    async def blocks(self, statement: Statement) -> AsyncIterator[Sequence[Sequence[Any]]]:
        """Yield rows in blocks as ClickHouse reads them.  A failure on the way raises."""
        if self._exports <= 0:
            raise Problem(Code.OVERLOADED, "as many exports as may run at once are running; try again later")
        self._exports -= 1
        EXPORTS.inc()
        try:
            async with self._translated():
                client = await self._connected()
                stream = await client.query_row_block_stream(
                    statement.sql, statement.parameters, settings=self._limits(Limits.EXPORT)
                )
                async with stream:
                    async for block in stream:
                        EXPORT_ROWS.inc(len(block))
                        yield block
        finally:
            self._exports += 1
            EXPORTS.dec()

    async def stop(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._settings.query_queue_seconds):
                with STORE_WAITING.track_inprogress():
                    await self._turns.acquire()
        except TimeoutError:
            raise Problem(Code.OVERLOADED, "too many questions are waiting; try again in a second") from None
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _timed(self) -> AsyncIterator[None]:
        began, outcome = time.perf_counter(), "left"
        try:
            yield
            outcome = "answered"
        except Problem as problem:
            outcome = problem.code
            raise
        finally:
            STORE_SECONDS.labels(outcome).observe(time.perf_counter() - began)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except FAILURES as error:
            raise self._problem_of(error) from error
        else:
            self.problem = None
            STORE_READY.set(1)

    def _problem_of(self, error: BaseException) -> Problem:
        code = getattr(error, "code", None)
        if code in EXPENSIVE:
            return Problem(Code.TOO_EXPENSIVE, f"{EXPENSIVE[code]}: narrow the time range or the filters")
        message = str(error).partition("\n")[0] or type(error).__name__
        self.problem = f"ClickHouse: {message}"
        STORE_READY.set(0)
        log.warning("question failed", code=code, error=message)
        if code is not None:
            return Problem(Code.INTERNAL_ERROR, "ClickHouse refused the question; the log says why")
        return Problem(Code.STORE_UNAVAILABLE, "ClickHouse does not answer; try again in a moment")

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                timeout = max(self._settings.query_max_seconds, self._settings.query_export_seconds)
                self._client = await connect(self._settings, timeout_seconds=timeout)
            return self._client

    def _limits(self, limits: Limits) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "readonly": 1,
            "max_memory_usage": self._settings.query_max_memory_bytes,
            "date_time_output_format": "iso",
            "output_format_json_quote_64bit_integers": 0,
            "output_format_json_quote_denormals": 0,
        }
        if limits is Limits.EXPORT:
            return settings | {"max_execution_time": self._settings.query_export_seconds}
        return settings | {
            "max_execution_time": self._settings.query_max_seconds,
            "max_rows_to_read": self._settings.query_max_rows_read,
            "timeout_overflow_mode": "throw",
            "read_overflow_mode": "throw",
        }
