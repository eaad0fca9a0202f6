"""The command line of `afterword send`."""

import os
from pathlib import Path
from typing import Annotated

import orjson
import typer

from services.cli.options import Key, Url, epilog
from services.operations.destination import LOCAL_INGEST, target
from services.operations.exits import DONE, FOUND
from services.operations.send.core.imports import ExportFormat, ExportSystem
from services.operations.send.files import state_directory
from services.operations.send.report import RejectsFile
from services.operations.send.run import SendOptions, send_file

EXAMPLES = (
    ("afterword send feedback.ndjson.gz", "send an export; run it again after Ctrl-C or a crash"),
    (
        "afterword send monday.json tuesday.json --rejects rejects.ndjson",
        "several files, one after the other",
    ),
    ("zcat old/*.gz | afterword send -", "from standard input, which cannot be resumed"),
    (
        "AFTERWORD_KEY=… afterword send feedback.ndjson --url https://feedback.example.com",
        "to another machine, with a write key",
    ),
    ("afterword send scores.jsonl --from langsmith", "an export of another system"),
    (
        "afterword send votes.csv --from csv --map request_id=ID --map data.rating=Stars --map at=Date",
        "a table, with the columns to take",
    ),
)

STANDARD_INPUT = Path("-")

app = typer.Typer(add_completion=False)


def _checked(files: list[Path]) -> list[Path]:
    for file in files:
        if file == STANDARD_INPUT:
            continue
        if not file.exists():
            raise typer.BadParameter(f"file {str(file)!r} does not exist")
        if file.is_dir() or not os.access(file, os.R_OK):
            raise typer.BadParameter(f"{str(file)!r} is not a readable file")
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
    source: Annotated[
        ExportSystem | None,
        typer.Option("--from", help="What the files are: exports of this system, or CSV with a header."),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="With --from csv: the column of request_id, item_id, at, data.KEY or request.KEY.  "
            "A type may follow KEY, as in data.KEY:number; otherwise the cells show it.",
        ),
    ] = None,
    url: Url = LOCAL_INGEST,
    key: Key = None,
    rejects: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Append rejected events to this file, as NDJSON with the reason."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Send from the start, whatever was sent before.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Stop if the server accepts nothing for this long."),
    ] = 120.0,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            envvar="AFTERWORD_SEND_STATE_DIR",
            help="Directory of the progress of each file.  [default: ~/.local/state/afterword/send]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result of each file as JSON.")] = False,
) -> None:
    """Send a file of feedback: JSON, NDJSON or an export, plain, gzip or zstd.

    An event is {"request_id": "...", "data": {...}, "request": {...}}.
    The events of a request arrive in the order of the file, each once.

    An unreachable server is retried; after an interruption, run the same
    command again to resume.  Rejected events are reported with their line
    numbers, and the exit code is 1.
    """
    if maps and source is not ExportSystem.CSV:
        raise typer.BadParameter("it needs --from csv", param_hint="--map")
    typer.echo(f"Sending to {target(url, key)}", err=True)
    with RejectsFile(rejects) as rejects_file:
        options = SendOptions(
            *(url, key, restart, patience, state_dir or state_directory(), rejects_file),
            source=ExportFormat(source, tuple(maps or ())) if source else None,
        )
        rejected = 0
        for file in files:
            result = send_file(None if file == STANDARD_INPUT else file, options)
            rejected += result.rejected
            typer.echo(orjson.dumps(result._asdict()).decode() if as_json else result.sentence())
    raise typer.Exit(FOUND if rejected else DONE)
