"""Settings of the query service, from environment variables."""

from typing import ClassVar

from pydantic import Field, field_validator

from schemas.limits import MIB
from services.runtime.http.core.proxies import apart
from services.runtime.http.limits import ConnectionLimits
from services.runtime.settings import (
    ClickHouseSettings,
    HomeSettings,
    HttpUrl,
    KafkaSettings,
    LogSettings,
    Networks,
    Port,
    RootPath,
)

PATHS = (
    "comments",
    "dead-letters",
    "docs",
    "insights",
    "live",
    "livez",
    "metrics",
    "openapi.json",
    "pipeline",
    "readyz",
    "requests",
    "sign-in",
    "sign-out",
    "static",
    "v1",
)
"""First segments of the service's own paths."""


class QuerySettings(KafkaSettings, ClickHouseSettings, LogSettings, HomeSettings):
    """Settings of the query service."""

    prefix: ClassVar[str] = "QUERY_"

    query_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. Any other than loopback needs a key file.",
    )
    query_port: Port = Field(default=8081, description="Port to listen on; 0 takes a free one.")
    query_root_path: RootPath = Field(
        default="",
        description="Path prefix under which a proxy publishes query, such as `/feedback-ui`; "
        "whether the proxy strips it does not matter.",
    )
    query_trusted_proxies: Networks = Field(
        default="127.0.0.0/8,::1/128",
        description="Networks of proxies whose `X-Forwarded-*` and `Forwarded` headers count; "
        "`none`: of no proxy.",
    )
    query_max_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Time limit of one query in ClickHouse; exports excepted."
    )
    query_export_seconds: float = Field(
        default=3600.0, gt=0, description="Time limit of one export in ClickHouse."
    )
    query_max_memory_bytes: int = Field(
        default=1024 * MIB, ge=64 * MIB, description="Memory limit of one query in ClickHouse."
    )
    query_max_rows_read: int = Field(
        default=100_000_000, ge=10_000, description="Rows that one query may read; exports excepted."
    )
    query_max_concurrent: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Concurrent queries in ClickHouse; one tenant may have three quarters of them.",
    )
    query_queue_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="How long a query may wait for its turn before 503 overloaded.",
    )
    query_max_exports: int = Field(
        default=4, ge=1, le=64, description="Concurrent exports; one tenant may have three quarters of them."
    )
    query_max_wait_seconds: float = Field(
        default=30.0, gt=0, le=300, description="The longest `wait` that a client may ask for."
    )
    query_max_waiting: int = Field(
        default=500, ge=1, le=10_000, description="Clients that may wait at once; others are answered 503."
    )
    query_live_seconds: float = Field(
        default=1.0, gt=0, le=60, description="How often ClickHouse is checked for changes to open pages."
    )
    query_max_live: int = Field(
        default=200, ge=1, description="Live pages at once; others have to be reloaded."
    )
    query_session_seconds: float = Field(
        default=12 * 3600.0, ge=60, description="How long a sign-in in a browser lasts."
    )
    query_secure_cookie: bool = Field(
        default=False,
        description="Send the session cookie over HTTPS only; a trusted proxy's `X-Forwarded-Proto: https` "
        "does the same for its clients.",
    )
    query_ingest_url: HttpUrl = Field(
        default="http://127.0.0.1:8080",
        description="Address of ingest as users of the dashboard reach it, for its curl commands.",
    )
    query_max_connections: int = Field(
        default=2000,
        ge=1,
        le=100_000,
        description="Concurrent connections; a few more are answered 503 overloaded, or serve a probe.",
    )
    query_idle_seconds: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="How long a connection may be idle between two requests; the header `Keep-Alive` tells "
        "clients. Longer than a proxy in front keeps idle connections, which is 60 s for most.",
    )
    query_drain_seconds: float = Field(
        default=3.0,
        ge=0,
        le=600,
        description="How long requests are served after SIGTERM, with `/readyz` at 503: longer than a load "
        "balancer takes to notice.",
    )
    query_send_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a client may read nothing of a response before it is disconnected.",
    )
    query_max_unread_bytes: int = Field(
        default=256 * MIB,
        ge=MIB,
        description="Unread bytes of responses of all clients; beyond, the client with most is cut off.",
    )

    @field_validator("query_root_path")
    @classmethod
    def _is_no_path_of_ours(cls, root: str) -> str:
        return apart(root, PATHS)

    def bounds(self) -> ConnectionLimits:
        """Return the limits of client connections."""
        return ConnectionLimits(
            connections=self.query_max_connections,
            idle_seconds=self.query_idle_seconds,
            send_seconds=self.query_send_seconds,
            unread_bytes=self.query_max_unread_bytes,
        )
