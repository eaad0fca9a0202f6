"""`afterword send`: the command itself."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import uuid4

import orjson
import typer
from rich.console import Console

from services.cli.examples import epilog
from services.operations.destination import IS_IT_RUNNING, LOCAL_INGEST, Key, Url, target
from services.operations.exits import DONE, FOUND, UnreachableError, UsageError
from services.operations.send.core.kinds import not_json
from services.operations.send.core.plan import Chunk, Plan, chunks, plan
from services.operations.send.core.progress import Ledger, Progress
from services.operations.send.core.split import BrokenFileError, layout_of, splitter
from services.operations.send.lanes import Lanes, Patience
from services.operations.send.posting import HttpPost, client_for
from services.operations.send.reading import ChangedFileError, DamagedFileError, Source
from services.operations.send.report import RejectsFile, Shown
from services.operations.send.store import Store, state_directory

EXAMPLES = (
    ("afterword send feedback.ndjson.gz", "send an export; after Ctrl-C or a crash the same call goes on"),
    (
        "afterword send monday.json tuesday.json --rejects rejects.ndjson",
        "several files, one after the other",
    ),
    ("zcat old/*.gz | afterword send -", "from standard input, which cannot be gone on with"),
    (
        "AFTERWORD_KEY=… afterword send feedback.ndjson --url https://feedback.example.com",
        "to another machine, with a key that may write",
    ),
)

STANDARD_INPUT = Path("-")

app = typer.Typer(add_completion=False)
_errors = Console(stderr=True)
_GO_ON = "The same call goes on where this one stopped."


class Options(NamedTuple):
    """What holds for every file of a call."""

    url: str
    key: str | None
    restart: bool
    patience: float
    state_directory: Path
    rejects: RejectsFile


class Result(NamedTuple):
    """How the sending of one file ended: totals of the whole file, and the events of this call alone."""

    file: str
    accepted: int
    rejected: int
    events: int
    seconds: float
    sent_before: bool

    def sentence(self) -> str:
        """Return it for people."""
        counts = f"{self.file}: {self.accepted:,} accepted, {self.rejected:,} rejected"
        if self.sent_before:
            return f"{counts}: sent already; --restart sends it again"
        rate = self.events / max(self.seconds, 0.001)
        went_on = (
            ", went on where an earlier call stopped" if self.events < self.accepted + self.rejected else ""
        )
        return f"{counts}; {self.events:,} events in {self.seconds:.1f} s ({rate:,.0f}/s){went_on}"


def _checked(files: list[Path]) -> list[Path]:
    for file in files:
        if file == STANDARD_INPUT:
            continue
        if not file.exists():
            raise typer.BadParameter(f"file {str(file)!r} does not exist")
        if file.is_dir() or not os.access(file, os.R_OK):
            raise typer.BadParameter(f"{str(file)!r} is no file that can be read")
    return files


@app.command(epilog=epilog(EXAMPLES))
def send(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            callback=_checked,
            help="Files to send, one after the other; - is standard input.",
        ),
    ],
    *,
    url: Url = LOCAL_INGEST,
    key: Key = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Add each rejected event to this file, as NDJSON, with the reason."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Send from the start, whatever was sent before.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Give up when the server took nothing for so long."),
    ] = 120.0,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            envvar="AFTERWORD_SEND_STATE_DIR",
            help="Where to keep how far each file is.  [default: ~/.local/state/afterword/send]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result of each file as JSON.")] = False,
) -> None:
    """Send a file of feedback: JSON or NDJSON, plain, gzip or zstd.

    An event is {"request_id": "...", "data": {...}, "request": {...}}.
    A request's events arrive in the order of the file, each of them once.

    While the server is away it is tried again; after an interruption the same
    call goes on where it stopped.  What is rejected is reported with its line
    number, and the exit code is 1.
    """
    typer.echo(f"Sending to {target(url, key)}", err=True)
    with RejectsFile(rejects) as kept:
        options = Options(url, key, restart, patience, state_dir or state_directory(), kept)
        rejected = 0
        for file in files:
            result = _send(None if file == STANDARD_INPUT else file, options)
            rejected += result.rejected
            typer.echo(orjson.dumps(result._asdict()).decode() if as_json else result.sentence())
    raise typer.Exit(FOUND if rejected else DONE)


def _send(path: Path | None, options: Options) -> Result:
    """Send one file, from where an earlier call stopped; a pipe cannot be read twice."""
    if path is None or not path.is_file():
        return _run(path, None, None, options)
    store = Store(options.state_directory, path, options.url, options.key)
    with store.locked():
        before = None if options.restart else store.load()
        try:
            return _run(path, store, before, options)
        except ChangedFileError as error:
            if before is None or not before.finished:
                raise ChangedFileError(f"{error}; --restart sends it from the start") from error
            return _run(path, store, None, options)


def _run(path: Path | None, store: Store | None, before: Progress | None, options: Options) -> Result:
    progress = before or Progress(run=uuid4().hex)
    with Source(path) as source, Shown(source, _errors, options.rejects) as report:
        pieces = _pieces(source, progress)
        report.goes_on()
        if store and not before:
            # The run has to be known before anything is sent under its keys.
            store.save(progress)
        ledger = Ledger(progress)
        _until_sent(ledger, pieces, store.save if store else _forget, report, options)
        now = ledger.progress
        return Result(
            file=source.name,
            accepted=now.accepted,
            rejected=now.rejected,
            events=now.accepted + now.rejected - progress.accepted - progress.rejected,
            seconds=report.seconds,
            sent_before=progress.finished and now.place == progress.place,
        )


def _pieces(source: Source, progress: Progress) -> Iterator[tuple[Chunk, Plan]]:
    head = source.head()
    if wrong := not_json(head):
        raise UsageError(f"{source.name}: {wrong}")
    layout = layout_of(head)
    source.skip_to(progress.place)
    split = splitter(layout, progress.place, ended=progress.finished)
    return _planned(source, chunks(source.blocks(), split, eager=source.size is None))


def _planned(source: Source, pieces: Iterator[Chunk]) -> Iterator[tuple[Chunk, Plan]]:
    try:
        for chunk in pieces:
            yield chunk, plan(chunk)
    except BrokenFileError as error:
        raise DamagedFileError(
            f"{source.name}:{error.line}: {error}; everything before it was sent"
        ) from error


def _until_sent(
    ledger: Ledger,
    pieces: Iterator[tuple[Chunk, Plan]],
    save: Callable[[Progress], None],
    report: Shown,
    options: Options,
) -> None:
    patience = Patience(options.patience, time.monotonic)

    async def send() -> None:
        async with client_for(options.url, options.key) as client:
            post = HttpPost(client)
            await Lanes(post=post, ledger=ledger, save=save, report=report, patience=patience).send(pieces)

    try:
        asyncio.run(send())
    except UnreachableError as error:
        raise UnreachableError(f"{error}\n{_GO_ON if patience.reached else IS_IT_RUNNING}") from error
    except KeyboardInterrupt:
        _errors.print(f"\n{report.name}: stopped.  {_GO_ON}", markup=False, highlight=False)
        raise


def _forget(progress: Progress) -> None:
    """Keep nothing: standard input cannot be read again."""
