"""Where a client command sends to, or reads from: the options that these commands share."""

import re
from typing import Annotated
from urllib.parse import urlsplit

import typer

LOCAL_INGEST = "http://127.0.0.1:8080"
LOCAL_QUERY = "http://127.0.0.1:8081"
IS_IT_RUNNING = "Is Afterword running there?  `afterword up` runs it here; --url names another place."


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"{url!r} is no URL like {LOCAL_INGEST}")
    return url.rstrip("/")


def shown(url: str) -> str:
    """Return the URL without what may be secret in it: a user, a password, a key in the path."""
    parts = urlsplit(url)
    path = re.sub(r"/k/[^/]*", "/k/***", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def is_here(url: str) -> bool:
    """Tell whether the URL leads to this machine, to which no proxy of the environment leads."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


Url = Annotated[
    str,
    typer.Option("--url", envvar="AFTERWORD_URL", metavar="URL", callback=_checked, help="Where ingest is."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="AFTERWORD_KEY",
        metavar="KEY",
        help="API key with the scope write; better in the variable than on the command line, "
        "where others can see it.  A local stack without keys needs none.",
    ),
]
QueryUrl = Annotated[
    str,
    typer.Option(
        "--url", envvar="AFTERWORD_QUERY_URL", metavar="URL", callback=_checked, help="Where query is."
    ),
]
ReadKey = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="AFTERWORD_KEY",
        metavar="KEY",
        help="API key with the scope read; better in the variable than on the command line, "
        "where others can see it.  A local stack without keys needs none.",
    ),
]
