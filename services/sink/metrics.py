"""The metrics of the sink."""

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.metrics import COUNTS, SECONDS

ROWS = Counter("sink_rows_stored_total", "Rows that ClickHouse has, repeats included.", ["route"])
BATCHES = Counter("sink_batches_stored_total", "Batches that ClickHouse has.", ["route"])
BATCH_ROWS = Histogram("sink_batch_rows", "Rows in a batch.", ["route"], buckets=COUNTS)
OPEN_ROWS = Gauge("sink_open_rows", "Rows in the batch that is being filled.", ["route"])
STORE_SECONDS = Histogram(
    "sink_store_seconds",
    "Time from the first attempt to store a batch until its positions are stored, outages included.",
    ["route"],
    buckets=SECONDS,
)
FRESHNESS_SECONDS = Histogram(
    "sink_freshness_seconds",
    "Age of the oldest record of a batch when it is stored, since the append of the (newest) event.",
    ["route"],
    buckets=(*SECONDS, 300.0, 3600.0),
)
LAG = Gauge(
    "sink_lag_offsets", "Offsets between what is stored and the log's end.", ["route", "topic", "partition"]
)
COPIES_MISSING = Gauge(
    "sink_kafka_partitions_under_replicated",
    "Partitions of Afterword's and Kafka's own topics with a replica that is not in sync.",
    ["topic"],
)
COPIES_TOO_FEW = Gauge(
    "sink_kafka_partitions_under_min_isr",
    "Partitions with fewer replicas in sync than writes need: writes wait.",
    ["topic"],
)
SKIPPED = Counter(
    "sink_records_skipped_total", "Events that do not decode, which the merger dead-letters.", ["route"]
)
HALVINGS = Counter(
    "sink_halvings_total", "Batches split in two because ClickHouse refused a row; should stay 0.", ["route"]
)
DEAD_LETTERS = Counter(
    "sink_dead_letters_total", "Rows dead-lettered because ClickHouse refuses them; should stay 0.", ["route"]
)
RESTARTS = Counter("sink_route_restarts_total", "Restarts of routes after an error.", ["route"])
WENT_BACK = Counter(
    "sink_store_went_back_total",
    "Times that ClickHouse had lower positions than were stored in it, as after a restore.",
    ["route"],
)
REFUSALS = Gauge(
    "sink_refusals", "Reasons why the sink refuses to work, as listed by `afterword status`; alert on it."
)
LEADER_TASK_TURN = Gauge(
    "sink_chore_turn", "1 while this sink is the one of its group that runs the leader task.", ["chore"]
)
LEADER_TASK_RUNS = Counter("sink_chore_runs_total", "Runs of a leader task.", ["chore"])
LEADER_TASK_FAILURES = Counter(
    "sink_chore_failures_total", "Failed runs of a leader task, which is retried later.", ["chore"]
)
ERASURES_OPEN = Gauge("sink_erasures_open", "Erasures that were requested and are not verified yet.")
ERASURES_OLDEST_SECONDS = Gauge(
    "sink_erasures_oldest_seconds", "Time since the oldest of them was requested; alert on hours."
)
SWEPT = Counter(
    "sink_swept_rows_total",
    "Rows deleted because their version was at or below an erase of their request.",
    ["table"],
)
