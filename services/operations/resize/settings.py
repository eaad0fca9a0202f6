"""What `afterword resize` reads from the environment."""

from services.operations.migrate.settings import ReplicationSettings
from services.runtime.settings import ClickHouseSettings, HomeSettings, KafkaSettings


class ResizeSettings(KafkaSettings, ClickHouseSettings, HomeSettings, ReplicationSettings):
    """Where the servers are, and where there is room for a comparison of all states."""
