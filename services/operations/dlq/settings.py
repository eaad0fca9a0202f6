"""What `afterword dlq` reads from the environment."""

from services.runtime.settings import ClickHouseSettings, KafkaSettings


class DlqSettings(KafkaSettings, ClickHouseSettings):
    """Where the dead letters are, and where they go back to."""
