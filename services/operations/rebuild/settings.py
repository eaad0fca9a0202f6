"""What `afterword rebuild` reads from the environment."""

from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings


class RebuildSettings(KafkaSettings, ClickHouseSettings, HomeSettings):
    """Where the log and the tables are, and where the audit log is kept."""
