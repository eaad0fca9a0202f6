"""Sending of one file: from the input to a result, resumed where an earlier call stopped."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from rich.console import Console

from services.operations.destination import IS_IT_RUNNING
from services.operations.exits import UnreachableError, UsageError
from services.operations.http_client import OutageLimit, client_for
from services.operations.send.core.imports import (
    MAX_ITEM_BYTES,
    WHOLE_FILE,
    ExportFormat,
    ImportSplitter,
    item_reader,
)
from services.operations.send.core.plan import FileChunk, SendPlan, chunks, plan
from services.operations.send.core.progress import SendLedger, SendProgress
from services.operations.send.core.split import BrokenFileError, layout_of, not_json, splitter
from services.operations.send.files import ChangedFileError, DamagedFileError, InputFile, ProgressStore
from services.operations.send.lanes import HttpPost, SendLanes
from services.operations.send.report import FileReport, RejectsFile

RESUME = "Run the same command again to resume."
_errors = Console(stderr=True)


class SendOptions(NamedTuple):
    """Options that apply to every file of a call; `patience` in seconds.

    `source` None: the files have events of Afterword.
    """

    url: str
    key: str | None
    restart: bool
    patience: float
    state_directory: Path
    rejects: RejectsFile
    source: ExportFormat | None = None


class SendResult(NamedTuple):
    """The result of a file: `events` and `seconds` of this call, other counts of the whole file."""

    file: str
    accepted: int
    rejected: int
    events: int
    seconds: float
    sent_before: bool

    def sentence(self) -> str:
        """Return the result as text."""
        counts = f"{self.file}: {self.accepted:,} accepted, {self.rejected:,} rejected"
        if self.sent_before:
            return f"{counts}: sent already; --restart sends it again"
        rate = self.events / max(self.seconds, 0.001)
        resumed = ", resumed after an earlier call" if self.events < self.accepted + self.rejected else ""
        return f"{counts}; {self.events:,} events in {self.seconds:.1f} s ({rate:,.0f}/s){resumed}"


def send_file(path: Path | None, options: SendOptions) -> SendResult:
    """Send one file, or standard input if `path` is None; a file resumes where an earlier call stopped.

    CommandError.  A pipe cannot be resumed, since it cannot be read twice.
    """
    if path is None or not path.is_file():
        return _run(path, None, None, options)
    store = ProgressStore(options.state_directory, path, options.url, options.key, options.source)
    with store.locked():
        before = None if options.restart else store.load()
        try:
            return _run(path, store, before, options)
        except ChangedFileError as error:
            if before is None or not before.finished:
                raise ChangedFileError(f"{error}; --restart sends it from the start") from error
            return _run(path, store, None, options)


def _run(
    path: Path | None, store: ProgressStore | None, before: SendProgress | None, options: SendOptions
) -> SendResult:
    progress = before or SendProgress(run=uuid4().hex)
    with InputFile(path) as source, FileReport(source, _errors, options.rejects) as report:
        pieces = _pieces(source, progress, options.source)
        report.resumed()
        if store and not before:
            # Stored before anything is sent under its keys, which a later call must repeat.
            store.save(progress)
        ledger = SendLedger(progress)
        _until_sent(ledger, pieces, store.save if store else _forget, report, options, source.name)
        now = ledger.progress
        return SendResult(
            file=source.name,
            accepted=now.accepted,
            rejected=now.rejected,
            events=now.accepted + now.rejected - progress.accepted - progress.rejected,
            seconds=report.seconds,
            sent_before=progress.finished and now.place == progress.place,
        )


def _pieces(
    source: InputFile, progress: SendProgress, format_: ExportFormat | None
) -> Iterator[tuple[FileChunk, SendPlan]]:
    head, can_be_csv = source.head(), format_ is not None and format_.can_be_csv
    if wrong := not_json(head, can_be_csv=can_be_csv):
        raise UsageError(f"{source.name}: {wrong}")
    layout = layout_of(head, can_be_csv=can_be_csv)
    source.skip_to(progress.place)
    if format_:
        try:
            read = item_reader(format_, layout, head)
        except ValueError as error:
            raise UsageError(f"{source.name}: {error}") from error
        split = splitter(layout, progress.place, ended=progress.finished, longest=MAX_ITEM_BYTES)
        return _planned(source, chunks(source.blocks(), ImportSplitter(split, read), WHOLE_FILE))
    split = splitter(layout, progress.place, ended=progress.finished)
    return _planned(source, chunks(source.blocks(), split, eager=source.size is None))


def _planned(source: InputFile, pieces: Iterator[FileChunk]) -> Iterator[tuple[FileChunk, SendPlan]]:
    try:
        for chunk in pieces:
            yield chunk, plan(chunk)
    except BrokenFileError as error:
        raise DamagedFileError(
            f"{source.name}:{error.line}: {error}; everything before it was sent"
        ) from error


def _until_sent(
    ledger: SendLedger,
    pieces: Iterator[tuple[FileChunk, SendPlan]],
    save: Callable[[SendProgress], None],
    report: FileReport,
    options: SendOptions,
    name: str,
) -> None:
    patience = OutageLimit(options.patience, time.monotonic)

    async def send() -> None:
        async with client_for(options.url, options.key) as client:
            post = HttpPost(client)
            await SendLanes(post=post, ledger=ledger, save=save, report=report, patience=patience).send(
                pieces
            )

    try:
        asyncio.run(send())
    except UnreachableError as error:
        raise UnreachableError(f"{error}\n{RESUME if patience.reached else IS_IT_RUNNING}") from error
    except KeyboardInterrupt:
        _errors.print(f"\n{name}: stopped.  {RESUME}", markup=False, highlight=False)
        raise


def _forget(progress: SendProgress) -> None:
    """Keep nothing: standard input cannot be resumed."""
