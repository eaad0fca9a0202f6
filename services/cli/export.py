"""`afterword export`: the command itself."""

import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.console import Console

from services.cli import export_options
from services.cli.examples import epilog
from services.operations.destination import IS_IT_RUNNING, LOCAL_QUERY, QueryUrl, ReadKey, target
from services.operations.exits import UnreachableError, UsageError
from services.operations.export.core.query import Asked, filters_of, format_of
from services.operations.export.fetching import Fetch, client_for
from services.operations.export.progress import Shown, size
from services.operations.export.target import PartialFile, StandardOutput, Target
from services.operations.send.lanes import Patience

EXAMPLES = (
    ("afterword export feedback.csv", "everything, for a spreadsheet; after Ctrl-C the same call goes on"),
    (
        "afterword export bad.ndjson --rating-max 2 --tag wrong --from 2026-11-01",
        "what people did not like since a day, and tagged",
    ),
    (
        "afterword export judged.parquet --where data.judge=ge:4 --model gpt-x",
        "by any key of the feedback, for pandas or DuckDB",
    ),
    ("afterword export --vote negative --limit 100 | jq .comment", "to standard output, as NDJSON"),
    (
        "AFTERWORD_KEY=… afterword export feedback.parquet --url https://feedback.example.com",
        "from another machine, with a key that may read",
    ),
)

STANDARD_OUTPUT = Path("-")
_GO_ON = "The same call goes on where this one stopped."

app = typer.Typer(add_completion=False)
_errors = Console(stderr=True)


class Place(NamedTuple):
    """Where from, and how."""

    url: str
    key: str | None
    restart: bool
    patience: float


class Result(NamedTuple):
    """What was exported; `rows` and `bytes` are of the whole file, `seconds` of this call."""

    file: str
    format: str
    rows: int
    bytes: int
    seconds: float

    def sentence(self) -> str:
        """Return it for people."""
        return f"{self.file}: {self.rows:,} rows, {size(self.bytes)}, in {self.seconds:.1f} s"


@app.command(epilog=epilog(EXAMPLES))
def export(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="[FILE]",
            show_default=False,
            help="Where to; its suffix says the format.  Without, or -, standard output.",
        ),
    ] = STANDARD_OUTPUT,
    *,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="csv, ndjson or parquet, whatever the file is called."
        ),
    ] = "",
    vote: export_options.Vote = None,
    sentiment: export_options.Sentiment = None,
    rating_min: export_options.RatingMin = "",
    rating_max: export_options.RatingMax = "",
    tag: export_options.Tag = None,
    model: export_options.Model = None,
    provider: export_options.Provider = None,
    source: export_options.Source = None,
    user_id: export_options.UserId = "",
    session_id: export_options.SessionId = "",
    request_id: export_options.RequestId = "",
    q: export_options.Words = "",
    where: export_options.Where = None,
    has_comment: export_options.HasComment = None,
    has_feedback: export_options.HasFeedback = None,
    orphan: export_options.Orphan = None,
    from_: export_options.From = "",
    to: export_options.To = "",
    first_from: export_options.FirstFrom = "",
    first_to: export_options.FirstTo = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many rows, in the order of their request ids.")
    ] = None,
    bom: Annotated[
        bool, typer.Option("--bom", help="CSV: begin with the mark by which Excel sees that it is UTF-8.")
    ] = False,
    url: QueryUrl = LOCAL_QUERY,
    key: ReadKey = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="From the start, whatever an earlier call left.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Give up when nothing came for so long.")
    ] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export feedback with its requests: CSV, NDJSON or Parquet, as much as there is.

    The file appears once it is whole; an older one of its name stays until then.
    A transfer that is cut goes on behind the last row, also by a later call;
    Parquet begins anew.  Both sides count the rows.

    Each row is there once, in the order of request ids, as it was when it was
    read: a row that changes meanwhile is neither missing nor there twice.
    """
    path = None if file == STANDARD_OUTPUT else file
    asked = Asked(format_of(path, format_), filters_of(ctx.params, where or ()), limit, bom)
    _check(asked, path)
    place = Place(url, key, restart=restart, patience=patience)
    typer.echo(f"Reading from {target(url, key)}", err=True)
    result = _to_file(path, asked, place) if path else _to_output(asked, place)
    said = orjson.dumps(result._asdict()).decode() if as_json else result.sentence()
    typer.echo(said, err=path is None)


def _check(asked: Asked, path: Path | None) -> None:
    if asked.bom and asked.format != "csv":
        raise UsageError("--bom is for CSV alone")
    if path is None and asked.format == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is no text for a terminal; name a file")
    if path is not None and path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it")
    if path is not None and path.exists() and not path.is_file():
        # The whole file would take its name: `/dev/null` would be one from then on.
        raise UsageError(f"{path} is no file that could be replaced; name - and redirect standard output")


def _to_output(asked: Asked, place: Place) -> Result:
    return _run("standard output", asked, StandardOutput(), place)


def _to_file(path: Path, asked: Asked, place: Place) -> Result:
    question = {
        "url": place.url,
        "format": asked.format,
        "parameters": [list(pair) for pair in asked.parameters("", 0)],
    }
    with PartialFile(path, question).opened(restart=place.restart) as target:
        try:
            result = _run(str(path), asked, target, place)
        except KeyboardInterrupt:
            _errors.print(f"\n{path}: stopped.  {_GO_ON}", markup=False, highlight=False)
            raise
        target.finish()
        return result


def _run(name: str, asked: Asked, target: Target, place: Place) -> Result:
    waiting = Patience(place.patience, time.monotonic)
    with client_for(place.url, place.key) as client, Shown(name, _errors) as report:
        if target.mark.rows:
            report.goes_on(target.mark)
        try:
            Fetch(client, asked, target, report, waiting).run()
        except UnreachableError as error:
            raise UnreachableError(f"{error}\n{_GO_ON if waiting.reached else IS_IT_RUNNING}") from error
        return Result(name, asked.format, target.mark.rows, target.mark.size, report.seconds)
