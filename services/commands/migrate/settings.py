"""What `afterword migrate` reads from the environment."""

from pydantic import Field

from schemas.topics import DEFAULT_PARTITIONS
from services.runtime.settings import ClickHouseSettings, KafkaSettings


class MigrateSettings(KafkaSettings, ClickHouseSettings):
    """Where the servers are, and how many partitions the topics get."""

    kafka_partitions: int = Field(
        default=DEFAULT_PARTITIONS,
        ge=1,
        le=10_000,
        description="Partitions of the events topic and of the state topic when `afterword migrate` creates"
        " them; they can never be changed afterwards.",
    )
