"""Show how an export goes, on the error output: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from services.operations.export.target import Mark

SECONDS_BETWEEN_LINES = 5.0


class Shown:
    """The report of one export."""

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._console = name, console
        self._started = self._latest_line = time.monotonic()
        self._outage = ""
        self._bar = _bar(console)
        self._task = self._bar.add_task(name, total=None, got="", note="")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._started

    def expected(self, rows: int) -> None:
        """Show how much there will be."""
        self._bar.update(self._task, total=rows)

    def goes_on(self, mark: Mark) -> None:
        """Say that an earlier call began it."""
        self.say(f"{self._name}: goes on behind {mark.rows:,} rows")

    def moved(self, mark: Mark) -> None:
        """Move on."""
        self._outage = ""
        got = f"{mark.rows:,} rows, {size(mark.size)}" if mark.rows else size(mark.size)
        self._bar.update(self._task, completed=mark.rows, got=got, note="")
        if not self._console.is_terminal and time.monotonic() - self._latest_line > SECONDS_BETWEEN_LINES:
            self._latest_line = time.monotonic()
            self.say(f"{self._name}: {got}")

    def waiting(self, why: str, seconds: float) -> None:
        """Say once an outage that nothing comes now."""
        self._bar.update(self._task, note=f"waiting: {why}")
        if not self._outage and not self._console.is_terminal:
            self.say(f"{self._name}: waiting {seconds:.1f} s: {why}")
        self._outage = why

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[got]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="yellow", markup=False),
        console=console,
    )
