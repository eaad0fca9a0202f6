"""A limit on how long a task may wait, for waits that nearly always end at once.

`asyncio.timeout` arms and disarms a timer each time, which costs a tenth of a whole request here; this looks
around now and then instead, and is that much less exact.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

ROUNDS = 8
"""A wait that is too long ends within an eighth of the limit after it."""


class Patience:
    """Ends waits that take longer than so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Return the result, or raise TimeoutError.  A task waits for one thing at a time."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine is always run by a task)
        self._waiting[task] = time.monotonic()
        if self._timer is None:
            self._look_later()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            del self._waiting[task]
            self._late.discard(task)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds / ROUNDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, since in self._waiting.items():
            if now - since > self.seconds and task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._waiting:
            self._look_later()
