"""Options that commands share, and the examples at the end of a help text."""

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services.operations.destination import LOCAL_INGEST


def epilog(examples: Iterable[tuple[str, str]]) -> str:
    """Return the text of these examples, pairs of a command line and its purpose."""
    return "Examples:\n\n\b\n" + "\n".join(f"[dim]# {purpose}[/dim]\n{call}" for call, purpose in examples)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"{url!r} is not a URL like {LOCAL_INGEST}")
    return url.rstrip("/")


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="AFTERWORD_URL",
        metavar="URL",
        callback=_checked,
        help="Address of ingest; by default the stack in AFTERWORD_HOME, else INGEST_PORT of this machine.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="AFTERWORD_KEY",
        metavar="KEY",
        help="API key with the scope write.  Prefer the variable: other users can see command lines.  "
        "A local stack without keys needs none.",
    ),
]
QueryUrl = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="AFTERWORD_QUERY_URL",
        metavar="URL",
        callback=_checked,
        help="Address of query; by default the stack in AFTERWORD_HOME, else QUERY_PORT of this machine.",
    ),
]
ReadKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="AFTERWORD_KEY",
        metavar="KEY",
        help="API key with the scope read.  Prefer the variable: other users can see command lines.  "
        "A local stack without keys needs none.",
    ),
]
