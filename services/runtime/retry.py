"""Retries an attempt after expected errors, with growing pauses.

`retry` is for what a process needs before it can do anything else, such as a server that is away: it retries
until it succeeds, or until the caller's pauses end, and reports every failure.  stamina is for single calls
that fail by chance, where a few attempts are enough and the error is the caller's after that.

Two kinds of loops use only `delays`.  Periodic work (leader tasks, route restarts, the check of query's
store) has no result to return, and each run decides when the next begins.  Commands that call ingest or query
retry after answers, not errors, within an `OutageLimit`; calls of ingest share `until_settled`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def delays(first: float = 0.1, longest: float = 10.0, factor: float = 2.0) -> Iterator[float]:
    """Yield seconds to wait before each retry, growing to `longest`, without end.

    No jitter: each consumer here retries alone, and a predictable delay can be tested.
    """
    delay = first
    while True:
        yield delay
        delay = min(longest, delay * factor)


async def retry(
    attempt: Callable[[], Awaitable[T]],
    errors: tuple[type[Exception], ...],
    pauses: Iterator[float],
    failed: Callable[[Exception], object] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Return the attempt's result; any error but `errors` is raised at once.

    After each of these, `failed` is called with it, and the next of `pauses`, in seconds, is taken and slept.
    When the pauses have ended, the last error is raised.
    """
    while True:
        try:
            return await attempt()
        except errors as error:
            if failed is not None:
                failed(error)
            seconds = next(pauses, None)
            if seconds is None:
                raise
        await sleep(seconds)
