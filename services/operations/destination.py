"""Where a client command sends to, or reads from: the options that these commands share."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Protocol, TypeVar
from urllib.parse import urlsplit

import typer

from schemas.identity import DEFAULT_TENANT
from services.local.home import addresses
from services.runtime.http.keys import KeyFileError, KeyRing, parse_file
from services.runtime.settings import HomeSettings, load

LOCAL_INGEST = "http://127.0.0.1:8080"
LOCAL_QUERY = "http://127.0.0.1:8081"
IS_IT_RUNNING = "Is Afterword running there?  `afterword up` runs it here; --url names another place."


def adopted(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables for a command that is called beside a stack: where the one of AFTERWORD_HOME is.

    Where none runs, ingest and query are at the ports that a stack would have.  What `environ` names stays.
    """
    home = Path(environ.get("AFTERWORD_HOME") or HomeSettings.model_fields["afterword_home"].default)
    ports = (("AFTERWORD_URL", "INGEST_PORT"), ("AFTERWORD_QUERY_URL", "QUERY_PORT"))
    settings = {
        url: f"http://127.0.0.1:{environ[port]}" for url, port in ports if environ.get(port, "").isdigit()
    }
    found = settings | addresses(home)
    return {name: address for name, address in found.items() if not environ.get(name)}


class Servers(Protocol):
    """Settings of a command that works on Kafka and ClickHouse themselves."""

    @property
    def kafka_bootstrap_servers(self) -> str: ...  # noqa: D102
    @property
    def clickhouse_url(self) -> str: ...  # noqa: D102
    @property
    def clickhouse_database(self) -> str: ...  # noqa: D102


S = TypeVar("S", bound=Servers)


def named(settings: S, tenant: str | None = None) -> S:
    """Return the settings, and say first on standard error which servers they lead to, and whose rows."""
    whose = f", tenant {tenant}" if tenant else ""
    clickhouse = f"ClickHouse at {shown(settings.clickhouse_url)}, database {settings.clickhouse_database}"
    typer.echo(f"Kafka at {settings.kafka_bootstrap_servers}, {clickhouse}{whose}", err=True)
    return settings


def target(url: str, key: str | None) -> str:
    """Return where a command sends to or reads from, and whose data that is, as far as it is known here."""
    return f"{shown(url)}, {_whose(url, key)}"


def _whose(url: str, key: str | None) -> str:
    in_path = re.search(r"/k/([^/]+)", urlsplit(url).path)
    key = in_path[1] if in_path else key
    if key is None:
        return f"tenant {DEFAULT_TENANT}, without a key"
    if is_here(url):
        with suppress(OSError, UnicodeDecodeError, KeyFileError):
            caller = KeyRing(parse_file(load(HomeSettings).keys_file.read_text())).caller(key.encode())
            if caller is not None:
                return f"tenant {caller.tenant}, key {caller.key_id}"
    return "the tenant of the key"


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
    typer.Option(
        "--url",
        envvar="AFTERWORD_URL",
        metavar="URL",
        callback=_checked,
        help="Where ingest is; else the stack that runs in AFTERWORD_HOME, else INGEST_PORT of this machine.",
    ),
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
        "--url",
        envvar="AFTERWORD_QUERY_URL",
        metavar="URL",
        callback=_checked,
        help="Where query is; else the stack that runs in AFTERWORD_HOME, else QUERY_PORT of this machine.",
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
