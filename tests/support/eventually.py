"""Waiting for what will become true, without fixed sleeps."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], *, within: float = 30.0, every: float = 0.05
) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, within: float = 30.0, every: float = 0.05) -> T: ...
async def eventually(check: Callable[[], Any], *, within: float = 30.0, every: float = 0.05) -> Any:
    """Return the first true result of `check`; AssertionError if there is none within so many seconds.

    A check that raises AssertionError counts as not yet true, and its last message is reported.
    `within` is a bound for a machine that is slow, not an expectation.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        result, complaint = await _tried(check)
        if result:
            return result
        if loop.time() >= deadline:
            raise AssertionError(f"not within {within} s: {complaint or f'last result was {result!r}'}")
        await asyncio.sleep(every)


async def _tried(check: Callable[[], Any]) -> tuple[Any, str]:
    try:
        result = check()
        return (await result if inspect.isawaitable(result) else result), ""
    except AssertionError as error:
        return None, str(error) or "the check failed an assertion"
