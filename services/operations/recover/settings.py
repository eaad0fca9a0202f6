"""What `afterword recover` reads from the environment."""

from services.operations.migrate.settings import ReplicationSettings
from services.operations.rebuild.settings import RebuildSettings


class RecoverSettings(RebuildSettings, ReplicationSettings):
    """Where the servers are, and where the audit log is kept."""
