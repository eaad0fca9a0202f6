"""What `afterword recover` reads from the environment."""

from services.commands.migrate.settings import ReplicationSettings
from services.commands.rebuild.settings import RebuildSettings


class RecoverSettings(RebuildSettings, ReplicationSettings):
    """Where the servers are, and where the audit log is kept."""
