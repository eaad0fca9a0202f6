"""The options of `afterword export` that say which rows: the filters of the read API, by their names."""

from typing import Annotated

import typer

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
RatingMin = Annotated[str, _option("--rating-min", "Ratings from here on.", "NUMBER")]
RatingMax = Annotated[str, _option("--rating-max", "Ratings up to here.", "NUMBER")]
Tag = Annotated[Texts, _option("--tag", "With this tag; repeat for all of several.", "TAG")]
Model = Annotated[Texts, _option("--model", "Of this model; repeat for any of several.", "MODEL")]
Provider = Annotated[Texts, _option("--provider", "Of this provider; repeatable.", "PROVIDER")]
Source = Annotated[Texts, _option("--source", "That came through this dialect; repeatable.", "SOURCE")]
UserId = Annotated[str, _option("--user-id", "From this user.", "ID")]
SessionId = Annotated[str, _option("--session-id", "Of this session.", "ID")]
RequestId = Annotated[str, _option("--request-id", "This request alone.", "ID")]
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
    bool | None, _option("--has-feedback/--no-feedback", "With feedback, or with facts alone.")
]
Orphan = Annotated[bool | None, _option("--orphan/--no-orphan", "Without, or with, facts of the request.")]
From = Annotated[str, _option("--from", "Last feedback since: 2026-11-01, or with a time.", "TIME")]
To = Annotated[str, _option("--to", "Last feedback before.", "TIME")]
FirstFrom = Annotated[str, _option("--first-from", "First feedback since.", "TIME")]
FirstTo = Annotated[str, _option("--first-to", "First feedback before.", "TIME")]
