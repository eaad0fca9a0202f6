"""The warehouse's settings.  It listens at CLICKHOUSE_URL, the same variable that its clients read."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from chdb_server.core.access import Account, is_loopback
from services.runtime.settings import ClickHouseSettings, HomeSettings, LogSettings

_DEFAULT_PORT = 8123


class WarehouseSettings(ClickHouseSettings, HomeSettings, LogSettings):
    """The settings of the embedded ClickHouse."""

    prefix: ClassVar[str] = "WAREHOUSE_"

    warehouse_memory_bytes: int = Field(
        default=4 * 2**30,
        ge=256 * 2**20,
        description="Memory that all queries and merges together may take, in bytes; a query past it fails.",
    )
    warehouse_max_queries: int = Field(
        default=32, ge=1, le=1000, description="Queries that run at the same time; others wait in a queue."
    )
    warehouse_queue_seconds: float = Field(
        default=30, ge=0, le=3600, description="How long a query waits in the queue before it is refused."
    )
    warehouse_max_body_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="Largest request body, also once decompressed, in bytes."
    )
    warehouse_max_waiting_bytes: int = Field(
        default=2**30,
        ge=2**20,
        description="Bytes of all request bodies in memory; a request past it is refused.",
    )
    warehouse_client_timeout_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="How long a client may pause in the middle of a body, or not read its reply.",
    )
    warehouse_grace_seconds: float = Field(
        default=3,
        ge=0,
        le=60,
        description="How long running queries may continue after SIGTERM before they are killed.",
    )
    warehouse_reader_passwords: SecretStr = Field(
        default=SecretStr(""),
        description="Accounts that may only read: name:password, separated by commas.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        url = urlsplit(self.clickhouse_url)
        if url.scheme != "http" or not is_loopback(url.hostname or ""):
            raise ValueError(
                "CLICKHOUSE_URL: the local warehouse serves plain HTTP on this machine only, "
                f"so {self.clickhouse_url!r} cannot be; use http://127.0.0.1:{_DEFAULT_PORT}"
            )
        try:
            self.accounts()
        except OSError as error:
            raise ValueError(f"CLICKHOUSE_PASSWORD_FILE cannot be read: {error}") from None
        return self

    @property
    def host(self) -> str:
        """The loopback address to listen on."""
        return urlsplit(self.clickhouse_url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port to listen on; 0 means any free one."""
        port = urlsplit(self.clickhouse_url).port
        return _DEFAULT_PORT if port is None else port

    @property
    def directory(self) -> Path:
        """The data directory, if the command line names none."""
        return self.afterword_home / "warehouse"

    def on_port(self, port: int) -> Self:
        """Return these settings with another port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.replace(clickhouse_url=f"http://{host}:{port}")

    def accounts(self) -> Mapping[str, Account]:
        """Return all accounts by name; only CLICKHOUSE_USER may write."""
        writer = Account(self.clickhouse_user, self.password(), may_write=True)
        accounts = {writer.name: writer}
        given = self.warehouse_reader_passwords.get_secret_value()
        for entry in filter(None, (part.strip() for part in given.split(","))):
            name, colon, password = entry.partition(":")
            if not name or not colon or name in accounts:
                raise ValueError(
                    "WAREHOUSE_READER_PASSWORDS must be name:password pairs with different names"
                )
            accounts[name] = Account(name, password, may_write=False)
        return accounts
