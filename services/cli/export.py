"""The command line of `afterword export`."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

from services.cli.options import QueryUrl, ReadKey, epilog
from services.operations.destination import LOCAL_QUERY, target
from services.operations.export.core.query import ExportQuery, filters_of, format_of
from services.operations.export.run import ExportOptions
from services.operations.export.run import export as run_export

_PANEL = "Which rows"


def _option(flags: str, text: str, metavar: str | None = None) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flags, metavar=metavar, help=text, rich_help_panel=_PANEL, show_default=False
    )
    return option


Texts = list[str] | None

Vote = Annotated[
    Texts, _option("--vote", "amazing, positive, negative or none; repeat for any of several.", "VOTE")
]
Sentiment = Annotated[
    Texts, _option("--sentiment", "positive, neutral, negative or none; repeatable.", "SENTIMENT")
]
RatingMin = Annotated[str, _option("--rating-min", "At least this rating.", "NUMBER")]
RatingMax = Annotated[str, _option("--rating-max", "At most this rating.", "NUMBER")]
Tag = Annotated[Texts, _option("--tag", "With this tag; repeat for all of several.", "TAG")]
Model = Annotated[Texts, _option("--model", "Of this model; repeat for any of several.", "MODEL")]
Provider = Annotated[Texts, _option("--provider", "Of this provider; repeatable.", "PROVIDER")]
Source = Annotated[Texts, _option("--source", "Sent via this dialect; repeatable.", "SOURCE")]
UserId = Annotated[str, _option("--user-id", "From this user.", "ID")]
SessionId = Annotated[str, _option("--session-id", "Of this session.", "ID")]
RequestId = Annotated[str, _option("--request-id", "Only this request.", "ID")]
Words = Annotated[str, _option("--q", "Whose comment has all of these words.", "WORDS")]
Where = Annotated[
    Texts,
    _option(
        "--where",
        "By a key of data or request: data.judge=ge:4; with eq, ne, lt, le, gt, ge or exists; repeatable.",
        "KEY=OPERATOR:VALUE",
    ),
]
HasComment = Annotated[bool | None, _option("--has-comment/--no-comment", "With, or without, a comment.")]
HasFeedback = Annotated[
    bool | None, _option("--has-feedback/--no-feedback", "With feedback, or with request data only.")
]
Orphan = Annotated[bool | None, _option("--orphan/--no-orphan", "Without, or with, request data.")]
From = Annotated[str, _option("--from", "Last feedback since: 2026-11-01, or with a time.", "TIME")]
To = Annotated[str, _option("--to", "Last feedback before.", "TIME")]
FirstFrom = Annotated[str, _option("--first-from", "First feedback since.", "TIME")]
FirstTo = Annotated[str, _option("--first-to", "First feedback before.", "TIME")]


EXAMPLES = (
    ("afterword export feedback.csv", "all rows, for a spreadsheet; run it again after Ctrl-C to resume"),
    (
        "afterword export bad.ndjson --rating-max 2 --tag wrong --from 2026-11-01",
        "low ratings with a tag, since a day",
    ),
    (
        "afterword export judged.parquet --where data.judge=ge:4 --model gpt-x",
        "by any key of the feedback, for pandas or DuckDB",
    ),
    ("afterword export --vote negative --limit 100 | jq .comment", "to standard output, as NDJSON"),
    (
        "AFTERWORD_KEY=… afterword export feedback.parquet --url https://feedback.example.com",
        "from another machine, with a read key",
    ),
)

STANDARD_OUTPUT = Path("-")

app = typer.Typer(add_completion=False)


@app.command(epilog=epilog(EXAMPLES))
def export(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="[FILE]",
            show_default=False,
            help="Output file; its suffix is the format.  Without it, or with -, standard output.",
        ),
    ] = STANDARD_OUTPUT,
    *,
    format_: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="csv, ndjson or parquet, whatever the suffix."),
    ] = "",
    vote: Vote = None,
    sentiment: Sentiment = None,
    rating_min: RatingMin = "",
    rating_max: RatingMax = "",
    tag: Tag = None,
    model: Model = None,
    provider: Provider = None,
    source: Source = None,
    user_id: UserId = "",
    session_id: SessionId = "",
    request_id: RequestId = "",
    q: Words = "",
    where: Where = None,
    has_comment: HasComment = None,
    has_feedback: HasFeedback = None,
    orphan: Orphan = None,
    from_: From = "",
    to: To = "",
    first_from: FirstFrom = "",
    first_to: FirstTo = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of rows, in the order of their request ids.")
    ] = None,
    bom: Annotated[
        bool, typer.Option("--bom", help="CSV: begin with a byte order mark, by which Excel detects UTF-8.")
    ] = False,
    url: QueryUrl = LOCAL_QUERY,
    key: ReadKey = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start from the beginning, whatever an earlier call wrote.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Stop if nothing arrives for this long.")
    ] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export feedback with its requests as CSV, NDJSON or Parquet, of any size.

    The file appears once it is complete; an older one of its name stays until
    then.  A cut transfer resumes behind the last row, also in a later call;
    Parquet starts from the beginning.  Both sides count the rows.

    Rows are in the order of request ids, each once, as it was when it was
    read: a row that changes meanwhile is neither missing nor duplicated.
    """
    path = None if file == STANDARD_OUTPUT else file
    query = ExportQuery(format_of(path, format_), filters_of(ctx.params, where or ()), limit, bom)
    typer.echo(f"Reading from {target(url, key)}", err=True)
    result = run_export(path, query, ExportOptions(url, key, restart=restart, patience=patience))
    text = orjson.dumps(result._asdict()).decode() if as_json else result.sentence()
    typer.echo(text, err=path is None)
