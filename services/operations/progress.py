"""How far a command is: a bar on a terminal, a line now and then elsewhere.  On the error output."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


class Bar:
    """The progress of one act on so many things.  A step that follows begins with `begin`."""

    def __init__(self, doing: str, total: int | None, console: Console) -> None:
        self._doing, self._total, self._console = doing, total, console
        self._done = 0
        self._latest_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
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

    def begin(self, doing: str, total: int | None) -> None:
        """Go on with another step, from nothing."""
        self._doing, self._total, self._done = doing, total, 0
        self._bar.reset(self._task, description=doing, total=total)
        self.say(f"{doing} ...")

    def moved(self, count: int) -> None:
        """Note that so many more are done."""
        self._done += count
        self._bar.update(self._task, completed=self._done)
        if not self._console.is_terminal and time.monotonic() - self._latest_line > SECONDS_BETWEEN_LINES:
            self._latest_line = time.monotonic()
            of = f" of {self._total:,}" if self._total else ""
            self.say(f"{self._doing}: {self._done:,}{of}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
