"""What `afterword erase` reads from the environment."""

from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings


class EraseSettings(KafkaSettings, ClickHouseSettings, HomeSettings):
    """Where the feedback is, and where the audit log is."""
