"""Reads an export's rows from the store, at the pace of its reader, and makes the file."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog

from services.query.core.problems import Code, Problem
from services.query.exports.core.assembly import Assembly
from services.query.exports.core.lines import BrokenAnswerError
from services.query.exports.core.statement import statement
from services.query.store import Store
from services.runtime.clickhouse.core.statement import Pace

log = structlog.get_logger()

PACES = (Pace(1024, 0), Pace(64, 1), Pace(8, 1))
"""Many rows at once are quick.  Few are for rows of megabytes, of which ClickHouse would otherwise hold more
than the memory that a question may use."""

MEMORY_LIMIT_EXCEEDED = 241


async def pieces(store: Store, assembly: Assembly) -> AsyncGenerator[bytes]:
    """Yield the file piece by piece, some of them empty; raise Problem where the store fails.

    The first piece comes when the first rows are read.  Nothing more is read before a piece was taken, and
    closing this ends ClickHouse's work.
    """
    with store.export(assembly.left.tenant):
        yielded = assembly.begin()
        for pace in PACES:
            try:
                async with aclosing(store.blocks(statement(assembly.left), pace)) as blocks:
                    async for block in blocks:
                        # In a thread: other readers are not to wait while this one's rows are encoded.
                        yield yielded + await asyncio.to_thread(assembly.feed, block)
                        yielded = b""
                assembly.answered()
                break
            except (Problem, BrokenAnswerError) as error:
                if code_of(error) != MEMORY_LIMIT_EXCEEDED or pace == PACES[-1]:
                    raise _problem_of(error) from error
                log.info(
                    "export goes on with fewer rows at once", rows=pace.max_block_size, done=assembly.rows
                )
                assembly.again()
        yield yielded + await asyncio.to_thread(assembly.end)


def code_of(error: Problem | BrokenAnswerError) -> int | None:
    """Return ClickHouse's code of a failure, before or in the middle of an answer."""
    code: int | None = getattr(
        error if isinstance(error, BrokenAnswerError) else error.__cause__, "code", None
    )
    return code


def _problem_of(error: Problem | BrokenAnswerError) -> Problem:
    if isinstance(error, Problem):
        return error
    if error.code == MEMORY_LIMIT_EXCEEDED:
        return Problem(Code.TOO_EXPENSIVE, "rows are larger than the memory that a question may use")
    log.warning("export broken off", code=error.code, error=str(error))
    return Problem(Code.STORE_UNAVAILABLE, "ClickHouse failed on the way; try again in a moment")
