"""Metrics of the query service.  Labels are from closed lists: none holds text of a client."""

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.metrics import SECONDS

REQUESTS = Counter(
    "query_requests_total",
    "Requests answered, by route and outcome: answered, refused, failed, or left by the reader.",
    ["route", "outcome"],
)
REQUEST_SECONDS = Histogram(
    "query_request_seconds",
    "From a request's headers to the last byte of its answer; streams of a live page excepted.",
    ["route"],
    buckets=SECONDS,
)
PROBLEMS = Counter("query_problems_total", "Requests that were not answered, by code.", ["code"])
STORE_SECONDS = Histogram(
    "query_store_seconds",
    "Time of one question in ClickHouse, by outcome; exports and the wait for a turn excepted.",
    ["outcome"],
    buckets=SECONDS,
)
STORE_WAITING = Gauge("query_store_waiting", "Questions that wait for their turn at ClickHouse.")
STORE_READY = Gauge("query_store_ready", "1 while ClickHouse answers.")
EXPORTS = Gauge("query_running_exports", "Exports that are being streamed.")
EXPORT_ROWS = Counter("query_export_rows_total", "Rows read for exports.")
LIVE = Gauge("query_live_pages", "Open pages that are kept up to date.")
WAITING = Gauge("query_waiting_readers", "Readers that wait for positions of the pipeline.")
WAITS = Counter(
    "query_waits_total", "Readers who asked what became of an event, by what they were told.", ["outcome"]
)
WAIT_SECONDS = Histogram(
    "query_wait_seconds", "How long readers waited for an event to pass all stages.", buckets=SECONDS
)
POSITION_READS = Counter(
    "query_position_reads_total",
    "Readings of all positions, shared by all who wait, by outcome: read or failed.",
    ["outcome"],
)
KEYS_DAMAGED = Gauge(
    "query_key_file_damaged",
    "1 while the key file cannot be read, is gone, or has lost its keys.",
)
CONNECTIONS = Gauge("query_connections", "Open connections of clients.")
CONNECTIONS_CUT = Counter(
    "query_connections_cut_total",
    "Connections ended early, by reason: crowded, malformed, head_too_large, head_too_slow, rest, pipelined, "
    "unread, or slow_reader.",
    ["reason"],
)
