"""How far it is: a bar on a terminal, a line now and then elsewhere.  On the error output."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


class Shown:
    """The progress of one act on so many dead letters."""

    def __init__(self, doing: str, total: int, console: Console) -> None:
        self._doing, self._total, self._console = doing, total, console
        self._done = 0
        self._latest_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task(doing, total=total)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def moved(self, count: int) -> None:
        """Note that so many more are dealt with."""
        self._done += count
        self._bar.update(self._task, completed=self._done)
        if not self._console.is_terminal and time.monotonic() - self._latest_line > SECONDS_BETWEEN_LINES:
            self._latest_line = time.monotonic()
            self._console.print(
                f"{self._doing}: {self._done:,} of {self._total:,}", markup=False, highlight=False
            )
