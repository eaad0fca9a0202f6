"""Settings of ingest, from environment variables."""

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
"""First segments of the service's own paths; a dialect's path is distinguished by its further segments."""


class IngestSettings(KafkaSettings, ClickHouseSettings, LogSettings, HomeSettings):
    """Settings of the ingest service."""

    prefix: ClassVar[str] = "INGEST_"

    ingest_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. Any address but loopback requires a key file.",
    )
    ingest_port: Port = Field(default=8080, description="Port to listen on; 0: a free port.")
    ingest_root_path: RootPath = Field(
        default="",
        description="Path prefix under which a proxy publishes ingest, such as `/feedback`; "
        "it works whether or not the proxy strips it.",
    )
    ingest_trusted_proxies: Networks = Field(
        default="127.0.0.0/8,::1/128",
        description="Networks of proxies whose `X-Forwarded-*` and `Forwarded` headers are trusted; "
        "`none`: no proxy.",
    )
    ingest_deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="How long an event may wait for Kafka's acknowledgement before 503 log_unavailable.",
    )
    ingest_stalled_seconds: float = Field(
        default=30.0,
        gt=0,
        description="The producer is replaced after it got no answer for this long while Kafka answers a new "
        "client; after twice that `/livez` fails.",
    )
    ingest_max_inflight_bytes: int = Field(
        default=64 * MIB,
        ge=MIB,
        description="Bytes of events that may wait for Kafka's acknowledgement; more, or more than a "
        "tenant's share, are answered 503 overloaded at once.",
    )
    ingest_max_upload_bytes: int = Field(
        default=128 * MIB,
        ge=16 * MIB,
        description="Bytes of large bodies that may arrive or be worked on at once; more, or more than a "
        "tenant's share, are answered 503 overloaded at once.",
    )
    ingest_body_seconds: float = Field(
        default=30.0, gt=0, description="How long a body may take to arrive before 408 request_timeout."
    )
    ingest_events_per_second: float = Field(
        default=0.0,
        ge=0,
        description="Events each tenant may send per second, in bursts of ten seconds' worth; 0: no limit. "
        "The key file may set another limit for a tenant.",
    )
    ingest_lookup: bool = Field(
        default=True,
        description="Look GPTBoost votes up in ClickHouse, to answer an exact repeat with 208.",
    )
    ingest_lookup_seconds: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="How long a lookup may take; then the request is answered without it.",
    )
    ingest_max_lookups: int = Field(
        default=4, ge=1, le=64, description="Concurrent lookups; further votes are answered without one."
    )
    ingest_stored_seconds: float = Field(
        default=10.0,
        gt=0,
        le=60,
        description="How long a call about stored feedback, such as deleting a score, may wait until "
        "ClickHouse has everything that Kafka has; then the answer is 503.",
    )
    ingest_known_requests: bool = Field(
        default=False,
        description="Reject feedback with 404 if it is certain that no facts of its request have arrived.",
    )
    ingest_store_texts: bool = Field(
        default=True,
        description="Store the texts among the facts of requests: `prompt`, `response` and `messages`. "
        "`store_texts` of a tenant in the key file overrides it.",
    )
    ingest_max_connections: int = Field(
        default=2000,
        ge=1,
        le=100_000,
        description="Concurrent connections; a few more are answered 503 overloaded, or for a probe.",
    )
    ingest_idle_seconds: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="How long a connection may be idle between two requests; sent to clients in the header "
        "`Keep-Alive`. Should be longer than a proxy keeps idle connections, 60 s for most.",
    )
    ingest_drain_seconds: float = Field(
        default=3.0,
        ge=0,
        le=600,
        description="How long requests are served after SIGTERM, with `/readyz` at 503: should "
        "exceed the time that a load balancer takes to notice.",
    )
    ingest_send_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a client may read nothing of an answer before it is disconnected.",
    )
    ingest_max_unread_bytes: int = Field(
        default=256 * MIB,
        ge=MIB,
        description="Bytes of answers that clients have not read yet; beyond, the client with most is "
        "disconnected.",
    )

    @field_validator("ingest_root_path")
    @classmethod
    def _is_no_own_path(cls, root: str) -> str:
        return apart(root, PATHS)

    def bounds(self) -> ConnectionLimits:
        """Return the limits of client connections."""
        return ConnectionLimits(
            connections=self.ingest_max_connections,
            idle_seconds=self.ingest_idle_seconds,
            send_seconds=self.ingest_send_seconds,
            unread_bytes=self.ingest_max_unread_bytes,
        )
