"""Reports of `afterword send`: the progress of a file, and every rejected entry."""

from pathlib import Path
from typing import Any, Self, TextIO

import orjson
from rich.console import Console

from services.operations.core.answers import EventRejection
from services.operations.exits import UsageError
from services.operations.progress import ProgressBar
from services.operations.send.core.plan import FileChunk, SendBatch
from services.operations.send.core.split import SendEntry
from services.operations.send.files import InputFile

MOST_SHOWN = 20
"""Rejected entries on the screen; the file of rejects has all."""


class RejectsFile:
    """A file of all rejected entries: one JSON object per line, with line number, reason and entry."""

    def __init__(self, path: Path | None) -> None:
        try:
            self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        except OSError as error:
            raise UsageError(f"cannot write rejects to {path} ({error.strerror})") from error

    def add(self, name: str, entry: SendEntry, reason: dict[str, Any]) -> None:
        """Append one entry, flushed to the operating system."""
        if self._file:
            item = {"item": entry.item} if entry.item else {}
            rejected = {
                "file": name,
                "line": entry.line,
                **item,
                **reason,
                "event": entry.text.decode(errors="replace"),
            }
            self._file.write(orjson.dumps(rejected).decode() + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


class FileReport(ProgressBar):
    """Progress of one file on standard error, in bytes of the file, and its first rejected entries."""

    def __init__(self, source: InputFile, console: Console, rejects: RejectsFile) -> None:
        super().__init__(source.name, source.size, console)
        self._source, self._rejects = source, rejects
        self._bytes_per_entry: dict[int, float] = {}
        self._read, self._sent, self._rejected = 0, 0, 0
        self._bytes_done = 0.0

    def resumed(self) -> None:
        """Count what is read so far as done: an earlier call sent it."""
        self._read = self._source.consumed
        self._bytes_done = self._read

    def opened(self, chunk: FileChunk, left: int) -> None:
        """Divide the bytes of the chunk among the entries that are still to be sent."""
        read, self._read = self._source.consumed - self._read, self._source.consumed
        self._bytes_per_entry[chunk.start.offset] = read / max(1, left)

    def settled(self, batch: SendBatch, rejections: tuple[EventRejection, ...]) -> None:
        """Show the rejected events, and advance."""
        for rejection in rejections:
            entry = batch.entries[rejection.index]
            self._reject(entry, rejection.code, rejection.detail, rejection.errors)
        self._sent += len(batch.entries)
        self._bytes_done += self._bytes_per_entry[batch.chunk] * len(batch.entries)
        percent = f", {100 * self._bytes_done / self._source.size:.0f} %" if self._source.size else ""
        rate = self._sent / max(self.seconds, 0.001)
        self.show(self._bytes_done, f"{self._sent:,} events{percent}, {rate:,.0f}/s")

    def faulty(self, entries: tuple[SendEntry, ...]) -> None:
        """Show entries that are not events."""
        for entry in entries:
            self._reject(entry, entry.code, entry.fault)

    def _reject(
        self, entry: SendEntry, code: str, detail: str, errors: tuple[dict[str, str], ...] = ()
    ) -> None:
        self._rejects.add(self._source.name, entry, {"code": code, "detail": detail, "errors": errors})
        self._rejected += 1
        if self._rejected <= MOST_SHOWN:
            self.say(f"{self._source.name}:{entry.place}: {code}: {detail}")
        elif self._rejected == MOST_SHOWN + 1:
            self.say("more rejected entries are not shown; --rejects FILE writes all of them")
