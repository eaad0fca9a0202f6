"""What `afterword verify` reads from the environment."""

from services.runtime.settings import ClickHouseSettings, KafkaSettings


class VerifySettings(KafkaSettings, ClickHouseSettings):
    """Where the logs and the tables are."""
