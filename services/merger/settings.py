"""The merger's settings, from the environment."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.limits import KIB, MIB
from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings, LogSettings, Port


class MergerSettings(KafkaSettings, ClickHouseSettings, HomeSettings, LogSettings):
    """The merger's settings.  ClickHouse is queried only at the start, for the recorded Kafka cluster."""

    prefix: ClassVar[str] = "MERGER_"

    merger_metrics_host: str = Field(
        default="127.0.0.1", description="Address of health and metrics; 0.0.0.0 is every address."
    )
    merger_metrics_port: Port = Field(
        default=8082, description="Port of /livez, /readyz and /metrics; 0 is any free one."
    )
    merger_instance: int = Field(
        default=1,
        ge=1,
        description="Number of this merger on its host; each has its own directory in AFTERWORD_HOME.",
    )
    merger_batch_records: int = Field(
        default=50_000, ge=1, le=1_000_000, description="Maximum number of events in one transaction."
    )
    merger_fetch_bytes: int = Field(
        default=16 * MIB,
        ge=64 * KIB,
        description="Maximum bytes of one fetch from a partition; a larger event is returned alone.",
    )
    merger_compression: Literal["none", "lz4", "zstd"] = Field(
        default="lz4", description="Compression of the state topic."
    )
    merger_session_seconds: float = Field(
        default=10.0,
        ge=1.0,
        le=20.0,
        description="Seconds without a heartbeat after which a merger's partitions are reassigned.",
    )
    merger_transaction_seconds: float = Field(
        default=60.0,
        ge=1.0,
        le=900.0,
        description="Seconds that a transaction may take; longer than a restart of Kafka.",
    )
    merger_stall_seconds: float = Field(
        default=120.0,
        ge=1.0,
        description="Seconds without progress while events wait, after which /livez fails; after twice as"
        " many the merger ends itself.",
    )
    merger_max_dead_letter_share: float = Field(
        default=0.1,
        gt=0.0,
        le=1.0,
        description="Share of broken events in 1,000 of a partition above which the merger stops; 1 disables"
        " this.",
    )
