"""The servers that a command uses: their defaults beside a local stack, and how they are named to users."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import typer

from schemas.identity import DEFAULT_TENANT
from services.local.home import addresses
from services.runtime.http.keys import KeyFileError, KeyRing, parse_file
from services.runtime.settings import HomeSettings, load

LOCAL_INGEST = "http://127.0.0.1:8080"
LOCAL_QUERY = "http://127.0.0.1:8081"
IS_IT_RUNNING = "Is Afterword running there?  `afterword up` starts it here; --url names another address."


def adopted(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that direct a command to the local stack of AFTERWORD_HOME.

    If none runs: ingest and query at the ports that it would have.  Those set in `environ` are omitted.
    """
    home = Path(environ.get("AFTERWORD_HOME") or HomeSettings.model_fields["afterword_home"].default)
    ports = (("AFTERWORD_URL", "INGEST_PORT"), ("AFTERWORD_QUERY_URL", "QUERY_PORT"))
    settings = {
        url: f"http://127.0.0.1:{environ[port]}" for url, port in ports if environ.get(port, "").isdigit()
    }
    found = settings | addresses(home)
    return {name: address for name, address in found.items() if not environ.get(name)}


class ServerSettings(Protocol):
    """Settings of a command that uses Kafka and ClickHouse directly."""

    @property
    def kafka_bootstrap_servers(self) -> str: ...  # noqa: D102
    @property
    def clickhouse_url(self) -> str: ...  # noqa: D102
    @property
    def clickhouse_database(self) -> str: ...  # noqa: D102


S = TypeVar("S", bound=ServerSettings)


def named(settings: S, tenant: str | None = None) -> S:
    """Return the settings, after printing on standard error which servers and tenant they name."""
    of_tenant = f", tenant {tenant}" if tenant else ""
    clickhouse = f"ClickHouse at {shown(settings.clickhouse_url)}, database {settings.clickhouse_database}"
    typer.echo(f"Kafka at {settings.kafka_bootstrap_servers}, {clickhouse}{of_tenant}", err=True)
    return settings


def target(url: str, key: str | None) -> str:
    """Return the address and, as far as it is known here, the tenant of the key, as text."""
    return f"{shown(url)}, {_tenant_of(url, key)}"


def _tenant_of(url: str, key: str | None) -> str:
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


def shown(url: str) -> str:
    """Return the URL without secrets: user, password, a key in the path."""
    parts = urlsplit(url)
    path = re.sub(r"/k/[^/]*", "/k/***", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def is_here(url: str) -> bool:
    """Return whether the URL names this machine, for which proxies of the environment are not used."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
