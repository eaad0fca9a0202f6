"""What `afterword verify` reads from the environment."""

from services.operations.migrate.settings import RetentionSettings
from services.runtime.settings import ClickHouseSettings, KafkaSettings


class VerifySettings(KafkaSettings, ClickHouseSettings, RetentionSettings):
    """Where the logs and the tables are, and for how long they keep what is in them."""
