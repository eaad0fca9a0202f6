"""What `afterword resize` reads from the environment."""

from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings


class ResizeSettings(KafkaSettings, ClickHouseSettings, HomeSettings):
    """Where the servers are, and where there is room for a comparison of all states."""
