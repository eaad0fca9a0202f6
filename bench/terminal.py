"""Reports the progress of a run: with a bar on a terminal, else in lines."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_EVERY_SECONDS = 0.5
_ALMOST = 0.99
"""A stage that takes longer than it should is almost done for as long as it takes."""


class Terminal:
    """Prints lines, and a bar that moves with the seconds that stages may take."""

    def __init__(self, console: Console, budget: float) -> None:
        self.console = console
        self._began = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(None), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID = self._progress.add_task("", total=budget)
        self._done = 0.0

    def say(self, text: str) -> None:
        """Print a line of what happens, after the time since the beginning."""
        passed = int(time.monotonic() - self._began)
        self.console.print(
            f"[dim]{passed // 60:3}:{passed % 60:02}[/] {text}", highlight=False, soft_wrap=True
        )

    @asynccontextmanager
    async def stage(self, name: str, budget: float) -> AsyncIterator[None]:
        """Let the bar move through a stage."""
        self._progress.update(self._task, description=name)
        moving = asyncio.create_task(self._move(budget))
        try:
            yield
        finally:
            moving.cancel()
            with suppress(asyncio.CancelledError):
                await moving
            self._done += budget
            self._progress.update(self._task, completed=self._done)

    async def _move(self, budget: float) -> None:
        began = time.monotonic()
        while True:
            passed = min(time.monotonic() - began, budget * _ALMOST)
            self._progress.update(self._task, completed=self._done + passed)
            await asyncio.sleep(_EVERY_SECONDS)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
