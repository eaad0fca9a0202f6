"""What the continuous reconciliation counts; the sink that does it exports it."""

from prometheus_client import Counter, Gauge

ACKNOWLEDGED = Counter(
    "reconciliation_acknowledged", "Events of the log, behind the sink's positions, that were looked for."
)
STORED = Counter(
    "reconciliation_stored",
    "Events that were found: in feedback_events, or erased since, or among the dead letters.",
)
MISSING = Counter("reconciliation_missing", "Events that were not found; should stay 0.")
AGE_SECONDS = Gauge(
    "reconciliation_age_seconds",
    "Age of the oldest stored event that was not looked for yet; 0 when all were.",
)
