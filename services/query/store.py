"""Read-only access to ClickHouse: limits on each query, on how many run, and errors as problems."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager
from typing import Any, Protocol

import aiohttp
import orjson
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.limits import MIB
from schemas.tables import FEEDBACK_STATE
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.metrics import EXPORTS, STORE_READY, STORE_SECONDS, STORE_WAITING
from services.query.settings import QuerySettings
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.core.statement import Pace, QueryCost, Statement
from services.runtime.fairness import NoSlot, TenantSlots, TenantTurns
from services.runtime.retry import delays

log = structlog.get_logger()

Row = dict[str, Any]

FAILURES = (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError)

_NARROW = "narrow the time range or the filters"
EXPENSIVE = {
    158: f"it would read more rows than a query may: {_NARROW}",
    159: f"it took longer than a query may: {_NARROW}",
    160: f"it would take longer than a query may: {_NARROW}",
    241: f"it needs more memory than a query may: {_NARROW}, or ask for fewer rows at once",
    307: f"it would read more bytes than a query may: {_NARROW}",
    396: "its answer is larger than an answer may be: ask for fewer rows at once, with `limit`",
}
"""ClickHouse's error codes of queries that exceed a limit: the client has to change the query."""

UNAVAILABLE = {
    60: "ClickHouse has no tables yet; run `afterword migrate`",
    81: "ClickHouse has no database yet; run `afterword migrate`",
    202: "ClickHouse has too many queries at once; try again in a moment",
    209: "ClickHouse does not answer; try again in a moment",
    210: "ClickHouse does not answer; try again in a moment",
    394: "ClickHouse is stopping; try again in a moment",
    516: "ClickHouse refuses the password of the service; its log says more",
}
"""Error codes that are not about the query: it can be retried, some of them once an operator has acted."""

EXPORT_SETTINGS = {
    "format_tsv_null_representation": "",
    "output_format_json_escape_forward_slashes": 0,
    # Rows in the order of the table's key come out as they are read; sorting would hold them all.
    "optimize_read_in_order": 1,
}

EXPORT_BLOCK_BYTES = MIB
MAX_ANSWER_BYTES = 256 * MIB
LATE_SECONDS = 5.0
"""How long after its own time limit ClickHouse may report that a query took too long."""


class QueryStore(Protocol):
    """Runs statements."""

    async def rows(self, statement: Statement) -> list[Row]:
        """Return all rows, by column name; raise QueryProblem."""

    def export(self, tenant: str) -> AbstractContextManager[None]:
        """Hold a slot for an export; raise QueryProblem if none is free, or the tenant has its share."""

    def blocks(self, statement: Statement, pace: Pace) -> AsyncGenerator[bytes]:
        """Yield the result in blocks as it is read, at this pace, within the limits of an export."""


class ClickHouseStore:
    """Runs statements in ClickHouse.  It connects on first use."""

    def __init__(self, settings: QuerySettings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._turns = TenantTurns(settings.query_max_concurrent, settings.query_queue_seconds)
        self._exports = TenantSlots(settings.query_max_exports)
        self.problem: str | None = "not connected yet"
        """What is wrong with the connection, or None."""

    async def rows(self, statement: Statement) -> list[Row]:
        """Return all rows, by column name; times are RFC 3339 text, 64-bit numbers are ints."""
        async with self._turn(statement.tenant), self._timed(), self._translated():
            # ClickHouse enforces its own time limit; this one is for a ClickHouse that does not respond.
            async with asyncio.timeout(self._settings.query_max_seconds + LATE_SECONDS):
                client = await self._connected()
                answer = await client.raw_query(
                    statement.sql,
                    statement.parameters,
                    settings=self._limits(QueryCost.QUESTION),
                    fmt="JSONEachRow",
                )
        return [orjson.loads(line) for line in answer.splitlines()]

    @contextmanager
    def export(self, tenant: str) -> Iterator[None]:
        """Hold a slot for an export; raise QueryProblem if none is free, or the tenant has its share."""
        match self._exports.full(tenant):
            case NoSlot.OWN:
                raise QueryProblem(
                    ProblemCode.RATE_LIMITED,
                    "this tenant has reached its limit of concurrent exports; wait for one to end",
                )
            case NoSlot.ALL:
                raise QueryProblem(
                    ProblemCode.OVERLOADED, "the limit of concurrent exports is reached; try again later"
                )
        self._exports.take(tenant)
        try:
            with EXPORTS.track_inprogress():
                yield
        finally:
            self._exports.leave(tenant)

    async def blocks(self, statement: Statement, pace: Pace) -> AsyncGenerator[bytes]:
        """Yield the result as TabSeparated text, in blocks with arbitrary boundaries.

        No more is read than is consumed, and closing the generator cancels the query.  A truncated result
        raises QueryProblem, or ends in an error message of ClickHouse's, which is not a row.
        """
        async with self._translated():
            client = await self._connected()
            stream = await client.raw_stream(
                statement.sql,
                statement.parameters,
                settings=self._limits(QueryCost.EXPORT) | pace._asdict(),
                fmt="TabSeparated",
            )
            async with stream, aclosing(_joined(stream)) as blocks:
                async for block in blocks:
                    yield block

    async def stop(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        try:
            with STORE_WAITING.track_inprogress():
                end = await self._turns.next(tenant)
        except TimeoutError:
            if self._turns.is_busy(tenant):
                detail = "this tenant has reached its limit of concurrent queries; try again in a second"
                raise QueryProblem(ProblemCode.RATE_LIMITED, detail) from None
            raise QueryProblem(
                ProblemCode.OVERLOADED, "too many queries are waiting; try again in a second"
            ) from None
        try:
            yield
        finally:
            end()

    @asynccontextmanager
    async def _timed(self) -> AsyncIterator[None]:
        began, outcome = time.perf_counter(), "left"
        try:
            yield
            outcome = "answered"
        except QueryProblem as problem:
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

    def _problem_of(self, error: BaseException) -> QueryProblem:
        code = getattr(error, "code", None)
        if code in EXPENSIVE:
            return QueryProblem(ProblemCode.TOO_EXPENSIVE, EXPENSIVE[code])
        message = str(error).partition("\n")[0] or type(error).__name__
        self.problem = f"ClickHouse: {message}"
        STORE_READY.set(0)
        log.warning("query failed", code=code, error=message)
        if code in UNAVAILABLE:
            return QueryProblem(ProblemCode.STORE_UNAVAILABLE, UNAVAILABLE[code])
        if code is not None:
            return QueryProblem(
                ProblemCode.INTERNAL_ERROR, "ClickHouse rejected the query; see the log of the service"
            )
        return QueryProblem(
            ProblemCode.STORE_UNAVAILABLE, "ClickHouse does not answer; try again in a moment"
        )

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                # The longest pause between two bytes: an export may pause while ClickHouse sorts.
                silence = self._settings.query_export_seconds
                self._client = await connect(self._settings, timeout_seconds=silence)
            return self._client

    def _limits(self, limits: QueryCost) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "readonly": 1,
            "cancel_http_readonly_queries_on_client_close": 1,
            "max_memory_usage": self._settings.query_max_memory_bytes,
            "date_time_output_format": "iso",
            "output_format_json_quote_64bit_integers": 0,
            "output_format_json_quote_denormals": 0,
            # Times are rounded to hours, weeks and months beyond 32 bits, which begin with 1970 in UTC.
            "enable_extended_results_for_datetime_functions": 1,
        }
        if limits is QueryCost.EXPORT:
            return settings | EXPORT_SETTINGS | {"max_execution_time": self._settings.query_export_seconds}
        return settings | {
            "max_execution_time": self._settings.query_max_seconds,
            "max_rows_to_read": self._settings.query_max_rows_read,
            "max_result_bytes": MAX_ANSWER_BYTES,
            # Long texts are read only for the requests asked for; other conditions wait for FINAL.
            "optimize_move_to_prewhere_if_final": 1,
            "timeout_overflow_mode": "throw",
            "read_overflow_mode": "throw",
            "result_overflow_mode": "throw",
        }


async def _joined(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield a stream in larger blocks, which are worth handing to another thread."""
    held: list[bytes] = []
    size = 0
    try:
        async for piece in stream:
            held.append(piece)
            size += len(piece)
            if size >= EXPORT_BLOCK_BYTES:
                yield b"".join(held)
                held, size = [], 0
    except FAILURES:
        # Just before the connection breaks, ClickHouse sends the error.
        yield b"".join(held)
        raise
    yield b"".join(held)


STEADY_SECONDS = 2.0
"""Between two checks of a store that is up."""

PROBE = Statement(f"SELECT revision FROM {FEEDBACK_STATE} LIMIT 0")


async def watch_store(store: QueryStore) -> None:
    """Query the store regularly until cancelled, so that readiness is known before the first request."""
    tries = _tries()
    while True:
        try:
            await store.rows(PROBE)
        except QueryProblem:
            await asyncio.sleep(next(tries))
        else:
            tries = _tries()
            await asyncio.sleep(STEADY_SECONDS)


def _tries() -> Iterator[float]:
    return delays(first=0.2, longest=STEADY_SECONDS)
