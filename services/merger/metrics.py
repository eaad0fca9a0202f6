"""The metrics of the merger."""

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.metrics import COUNTS, SECONDS

EVENTS = Counter("merger_events_total", "Events consumed, by outcome.", ["outcome"])
DEAD_LETTERS = Counter("merger_dead_letters_total", "Events dead-lettered.", ["reason"])
ROWS = Counter("merger_rows_total", "Rows written to the state topic.")
FORGOTTEN = Counter(
    "merger_forgotten_rows_total", "Erased or idle rows removed, once no older event can be read or replayed."
)
BATCH_EVENTS = Histogram("merger_batch_events", "Events in one transaction.", buckets=COUNTS)
BATCH_SECONDS = Histogram("merger_batch_seconds", "Time of a batch, by step.", ["step"], buckets=SECONDS)
FRESHNESS = Histogram(
    "merger_freshness_seconds",
    "From the append of a batch's last event to the commit of its rows.",
    buckets=SECONDS,
)
LAG = Gauge("merger_lag_events", "Unmerged events in a partition of this merger.", ["partition"])
PARTITIONS = Gauge("merger_partitions", "Partitions that this merger holds open.")
RECOVERED = Counter("merger_recovered_rows_total", "Rows read back from the state topic.")
RECOVERY_SECONDS = Histogram(
    "merger_recovery_seconds", "Time to open a partition, its rows read back.", buckets=SECONDS
)
REBUILT = Counter(
    "merger_stores_rebuilt_total", "Local copies deleted and read back from the start, by cause.", ["cause"]
)
REFUSALS = Gauge(
    "merger_refusals",
    "Reasons why the merger refuses to work, as listed by `afterword status`; alert on it.",
)
GAPS = Counter(
    "merger_gaps_total", "Offsets that were not delivered, by what a second read returned.", ["found"]
)
