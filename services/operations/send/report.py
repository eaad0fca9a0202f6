"""Show how the sending goes: a bar on a terminal, a line now and then elsewhere, and every reject."""

import time
from pathlib import Path
from typing import Any, Self, TextIO

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from services.operations.exits import UsageError
from services.operations.send.core.answers import Rejection
from services.operations.send.core.plan import Batch, Chunk
from services.operations.send.core.split import Entry
from services.operations.send.reading import Source

MOST_SHOWN = 20
SECONDS_BETWEEN_LINES = 5.0


class RejectsFile:
    """Keeps every rejected entry: a JSON object a line, with the line number, the reason and the entry."""

    def __init__(self, path: Path | None) -> None:
        try:
            self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        except OSError as error:
            raise UsageError(f"cannot write rejects to {path} ({error.strerror})") from error

    def add(self, name: str, entry: Entry, reason: dict[str, Any]) -> None:
        """Keep one; it is on its way to the disk when this returns."""
        if self._file:
            item = {"item": entry.item} if entry.item else {}
            held = {
                "file": name,
                "line": entry.line,
                **item,
                **reason,
                "event": entry.text.decode(errors="replace"),
            }
            self._file.write(orjson.dumps(held).decode() + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


class Shown:
    """The report of one file.  On the error output; what comes out at the end is for `command` to print."""

    def __init__(self, source: Source, console: Console, rejects: RejectsFile) -> None:
        self.name = source.name
        self._source, self._console, self._rejects = source, console, rejects
        self._weights: dict[int, float] = {}
        self._weighed, self._sent, self._shown = 0, 0, 0
        self._started = self._latest_line = time.monotonic()
        self._outage = ""
        self._bar = _bar(console)
        self._task = self._bar.add_task(source.name, total=source.size, sent="", note="")

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

    def goes_on(self) -> None:
        """Count what is read so far as sent: an earlier call did."""
        self._weighed = self._source.consumed
        self._bar.update(self._task, completed=self._weighed)

    def opened(self, chunk: Chunk, left: int) -> None:
        """Share out the chunk's bytes of the file among the entries that are still to be sent."""
        read, self._weighed = self._source.consumed - self._weighed, self._source.consumed
        self._weights[chunk.start.offset] = read / max(1, left)

    def settled(self, batch: Batch, rejections: tuple[Rejection, ...]) -> None:
        """Move on, and show what was rejected."""
        self._outage = ""
        for rejection in rejections:
            entry = batch.entries[rejection.index]
            self._reject(entry, rejection.code, rejection.detail, rejection.errors)
        self._advance(batch.chunk, len(batch.entries))

    def faulty(self, entries: tuple[Entry, ...]) -> None:
        """Show what is no event."""
        for entry in entries:
            self._reject(entry, "malformed_json", entry.fault)

    def waiting(self, why: str, seconds: float) -> None:
        """Say once an outage that nothing is taken now."""
        self._bar.update(self._task, note=f"waiting: {why}")
        if not self._outage and not self._console.is_terminal:
            self._say(f"{self._source.name}: waiting {seconds:.1f} s: {why}")
        self._outage = why

    def _advance(self, chunk: int, entries: int) -> None:
        self._sent += entries
        self._bar.update(
            self._task,
            advance=self._weights[chunk] * entries,
            sent=f"{self._sent:,} events, {self._sent / max(self.seconds, 0.001):,.0f}/s",
            note="",
        )
        if not self._console.is_terminal and time.monotonic() - self._latest_line > SECONDS_BETWEEN_LINES:
            self._latest_line = time.monotonic()
            part = f", {self._bar.tasks[0].percentage:.0f} %" if self._source.size else ""
            self._say(f"{self._source.name}: {self._sent:,} events{part}, {self._sent / self.seconds:,.0f}/s")

    def _reject(self, entry: Entry, code: str, detail: str, errors: tuple[dict[str, str], ...] = ()) -> None:
        self._rejects.add(self._source.name, entry, {"code": code, "detail": detail, "errors": errors})
        self._shown += 1
        if self._shown <= MOST_SHOWN:
            self._say(f"{self._source.name}:{entry.place}: {code}: {detail}")
        elif self._shown == MOST_SHOWN + 1:
            self._say("more rejects are not shown; --rejects FILE keeps them all")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="yellow", markup=False),
        console=console,
    )
