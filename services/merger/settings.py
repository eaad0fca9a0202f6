"""The merger's settings, from the environment."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.limits import KIB, MIB
from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings, LogSettings, Port


class MergerSettings(KafkaSettings, ClickHouseSettings, HomeSettings, LogSettings):
    """What the merger runs on.  ClickHouse is only asked, at the start, which Kafka it belongs to."""

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
        description="Number of this merger on its host; each keeps a directory of its own in AFTERWORD_HOME.",
    )
    merger_batch_records: int = Field(
        default=50_000, ge=1, le=1_000_000, description="The most events in one transaction."
    )
    merger_fetch_bytes: int = Field(
        default=16 * MIB,
        ge=64 * KIB,
        description="The most bytes that one fetch brings from a partition; a larger event comes alone.",
    )
    merger_compression: Literal["none", "lz4", "zstd"] = Field(
        default="lz4", description="How the rows in the state topic are compressed."
    )
    merger_session_seconds: float = Field(
        default=10.0,
        ge=1.0,
        le=20.0,
        description="How long the group waits for a silent merger before another takes its partitions.",
    )
    merger_transaction_seconds: float = Field(
        default=60.0,
        ge=1.0,
        le=900.0,
        description="How long a transaction may last; Kafka's restart should fit in.",
    )
    merger_stall_seconds: float = Field(
        default=120.0,
        ge=1.0,
        description="How long events may wait without any progress before the merger ends itself.",
    )
    merger_max_dead_letter_share: float = Field(
        default=0.1,
        gt=0.0,
        le=1.0,
        description="Share of broken events in 1,000 of a partition that stops the merger; 1 never does.",
    )
