"""The sink's settings, from the environment."""

from typing import ClassVar

from pydantic import Field

from schemas.limits import MIB
from services.runtime.settings import ClickHouseSettings, KafkaSettings, LogSettings, Port


class SinkSettings(KafkaSettings, ClickHouseSettings, LogSettings):
    """Which servers the sink uses, and how much it reads and writes at once."""

    prefix: ClassVar[str] = "SINK_"

    sink_batch_rows: int = Field(
        default=50_000,
        ge=1,
        le=500_000,
        description="Rows in one insert at most. Larger inserts are faster up to some 100,000; up to 500,000"
        " ClickHouse takes an insert as a whole or not at all.",
    )
    sink_batch_bytes: int = Field(
        default=64 * MIB,
        ge=MIB,
        le=192 * MIB,
        description="Bytes after which a batch is full; two batches of each route may be in memory.",
    )
    sink_flush_seconds: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="Seconds after which a batch is written although it is not full: how fresh the tables are"
        " under low load. A batch waits longer, up to 2 seconds, if storing the previous one took longer.",
    )
    sink_insert_timeout_seconds: float = Field(
        default=60.0, ge=1, le=600, description="Seconds that ClickHouse may take for one insert."
    )
    sink_stall_seconds: float = Field(
        default=300.0,
        gt=0,
        description="Seconds without progress, with something to read and ClickHouse up, after which /livez"
        " fails.",
    )
    sink_max_dead_letter_share: float = Field(
        default=0.1,
        gt=0.0,
        le=1.0,
        description="Share of refused rows in about 1,000 of a route above which it stops; 1 disables this.",
    )
    sink_reconcile_events_per_second: float = Field(
        default=200.0,
        ge=0,
        le=100_000,
        description="Stored events a second that one sink of the group verifies in ClickHouse; fewer where"
        " that would take more than a twentieth of the time; 0 turns it off.",
    )
    sink_watch_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Seconds between two checks of the lag of each route, and of the positions in ClickHouse"
        " of a route that stores nothing.",
    )
    sink_erasure_seconds: float = Field(
        default=2.0, gt=0, le=3600, description="Seconds between two checks for requested erasures."
    )
    sink_sweep_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Seconds between two sweeps, which delete rows that returned from before an erase.",
    )
    sink_metrics_host: str = Field(
        default="127.0.0.1", description="Address that serves /livez, /readyz and /metrics."
    )
    sink_metrics_port: Port = Field(
        default=8083, description="Port that serves /livez, /readyz and /metrics; 0 is any free one."
    )
