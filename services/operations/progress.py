"""Progress of an operation, on standard error: a bar on a terminal, a line every few seconds elsewhere."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


class ProgressBar:
    """Progress of one step at a time; `begin` starts the next one.  `total` None: not known (yet)."""

    def __init__(self, doing: str, total: int | None, console: Console) -> None:
        self._doing, self._total, self._console = doing, total, console
        self._done = 0.0
        self._started = self._latest_line = time.monotonic()
        self._is_waiting = False
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="yellow", markup=False),
            console=console,
        )
        self._task = self._bar.add_task(doing, total=total, text="", note="")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the bar was created."""
        return time.monotonic() - self._started

    def begin(self, doing: str, total: int | None) -> None:
        """Start the next step at zero."""
        self._doing, self._total, self._done = doing, total, 0.0
        self._bar.reset(self._task, description=doing, total=total, text="", note="")
        self.say(f"{doing} ...")

    def expect(self, total: int) -> None:
        """Set the total of this step."""
        self._total = total
        self._bar.update(self._task, total=total)

    def moved(self, count: int) -> None:
        """Add `count` to what is done."""
        of = f" of {self._total:,}" if self._total else ""
        self.show(self._done + count, f"{self._done + count:,.0f}{of}")

    def show(self, done: float, text: str) -> None:
        """Set what is done, in units of the total, and the text beside the bar; ends a wait."""
        self._done, self._is_waiting = done, False
        self._bar.update(self._task, completed=done, text=text, note="")
        if not self._console.is_terminal and time.monotonic() - self._latest_line > SECONDS_BETWEEN_LINES:
            self._latest_line = time.monotonic()
            self.say(f"{self._doing}: {text}")

    def waiting(self, why: str, seconds: float) -> None:
        """Report a retry in `seconds`; as a line only once per outage."""
        self._bar.update(self._task, note=f"waiting: {why}")
        if not self._is_waiting and not self._console.is_terminal:
            self.say(f"{self._doing}: waiting {seconds:.1f} s: {why}")
        self._is_waiting = True

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
