"""What ingest can be told by its environment."""

from typing import ClassVar

from pydantic import Field, field_validator

from schemas.limits import MIB
from services.runtime.http.core.proxies import apart
from services.runtime.http.limits import ConnectionLimits
from services.runtime.settings import (
    ClickHouseSettings,
    HomeSettings,
    KafkaSettings,
    LogSettings,
    Networks,
    Port,
    RootPath,
)

PATHS = ("docs", "k", "livez", "metrics", "openapi.json", "readyz")
"""First segments of the service's own paths; those of dialects are told apart by what follows."""


class IngestSettings(KafkaSettings, ClickHouseSettings, LogSettings, HomeSettings):
    """Settings of the ingest service."""

    prefix: ClassVar[str] = "INGEST_"

    ingest_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. Any other than loopback needs a key file.",
    )
    ingest_port: Port = Field(default=8080, description="Port to listen on; 0 takes a free one.")
    ingest_root_path: RootPath = Field(
        default="",
        description="Path prefix under which a proxy publishes ingest, such as `/feedback`; "
        "whether the proxy strips it does not matter.",
    )
    ingest_trusted_proxies: Networks = Field(
        default="127.0.0.0/8,::1/128",
        description="Networks of proxies whose `X-Forwarded-*` and `Forwarded` headers count; "
        "`none`: of no proxy.",
    )
    ingest_deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long an event may wait for Kafka before 503 log_unavailable.",
    )
    ingest_stalled_seconds: float = Field(
        default=30.0,
        gt=0,
        description="After so long without an answer that a new client gets, the producer is replaced; "
        "after twice that `/livez` fails.",
    )
    ingest_max_inflight_bytes: int = Field(
        default=64 * MIB,
        ge=MIB,
        description="Bytes of events that may wait for Kafka's answer; beyond, or above a tenant's share, "
        "503 overloaded at once.",
    )
    ingest_max_upload_bytes: int = Field(
        default=128 * MIB,
        ge=16 * MIB,
        description="Bytes of large bodies that may be on their way in or worked on; beyond, or above a "
        "tenant's share, 503 overloaded at once.",
    )
    ingest_body_seconds: float = Field(
        default=30.0, gt=0, description="How long a body may take to arrive before 408 request_timeout."
    )
    ingest_events_per_second: float = Field(
        default=0.0,
        ge=0,
        description="Events each tenant may send per second, in bursts of ten seconds' worth; 0: no limit. "
        "The key file may say otherwise of a tenant.",
    )
    ingest_lookup: bool = Field(
        default=True,
        description="Look a GPTBoost vote up in ClickHouse, to answer an exact repeat with 208.",
    )
    ingest_lookup_seconds: float = Field(
        default=0.25, gt=0, le=10, description="How long a lookup may take before the answer goes without it."
    )
    ingest_max_lookups: int = Field(
        default=4, ge=1, le=64, description="Lookups at once; further votes are answered without one."
    )
    ingest_known_requests: bool = Field(
        default=False,
        description="Refuse feedback on a request whose facts have never arrived, when that is certain: 404.",
    )
    ingest_max_connections: int = Field(
        default=2000,
        ge=1,
        le=100_000,
        description="Connections at once; a few more are answered 503 overloaded, or for a probe.",
    )
    ingest_idle_seconds: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="How long a connection may be idle between two requests; the header `Keep-Alive` tells "
        "clients. Longer than a proxy in front keeps idle connections, which is 60 s for most.",
    )
    ingest_drain_seconds: float = Field(
        default=3.0,
        ge=0,
        le=600,
        description="How long requests are served after SIGTERM, with `/readyz` at 503: longer than a load "
        "balancer takes to notice.",
    )
    ingest_send_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a client may take nothing of an answer; then it is cut off.",
    )
    ingest_max_unread_bytes: int = Field(
        default=256 * MIB,
        ge=MIB,
        description="Bytes of answers that clients have not taken yet; beyond, who has most is cut off.",
    )

    @field_validator("ingest_root_path")
    @classmethod
    def _is_no_path_of_ours(cls, root: str) -> str:
        return apart(root, PATHS)

    def bounds(self) -> ConnectionLimits:
        """Return what clients' connections may have."""
        return ConnectionLimits(
            connections=self.ingest_max_connections,
            idle_seconds=self.ingest_idle_seconds,
            send_seconds=self.ingest_send_seconds,
            unread_bytes=self.ingest_max_unread_bytes,
        )
