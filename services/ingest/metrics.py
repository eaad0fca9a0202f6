"""The metrics of ingest.

Looking a metric up by its labels takes longer than counting, so the hot path uses cached lookups.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.metrics import COUNTS, SECONDS

REQUESTS = Counter(
    "ingest_requests_total", "Requests answered, by dialect and outcome.", ["dialect", "outcome"]
)
REQUEST_SECONDS = Histogram(
    "ingest_request_seconds",
    "From a request's headers to its answer, body and Kafka's acknowledgement included.",
    ["dialect"],
    buckets=SECONDS,
)
EVENTS = Counter("ingest_events_total", "Events acknowledged by Kafka, by dialect and op.", ["dialect", "op"])
REJECTED = Counter(
    "ingest_rejected_total", "Requests, and events of batches, that were rejected, by code.", ["reason"]
)
BODY_BYTES = Counter("ingest_body_bytes_total", "Bytes of bodies as received, before decompression.")
BATCH_RECORDS = Histogram(
    "ingest_produce_batch_records", "Events in one record batch for Kafka.", buckets=COUNTS
)
PRODUCE_SECONDS = Histogram(
    "ingest_produce_seconds",
    "From handing a record batch to the producer to Kafka's answer.",
    buckets=SECONDS,
)
INFLIGHT_BYTES = Gauge("ingest_inflight_bytes", "Bytes of events that wait for Kafka's acknowledgement.")
INFLIGHT_TENANTS = Gauge(
    "ingest_inflight_tenants", "Tenants with events that wait for Kafka's acknowledgement."
)
UPLOAD_BYTES = Gauge(
    "ingest_upload_bytes", "Bytes of memory that large bodies and batches take, while worked on."
)
PRODUCERS_REPLACED = Counter("ingest_producers_replaced_total", "Producers replaced, by reason.", ["reason"])
LOG_READY = Gauge("ingest_log_ready", "1 while events can be written to Kafka.")
KEYS_DAMAGED = Gauge(
    "ingest_key_file_damaged",
    "1 while the key file cannot be read, is gone, or has lost its keys.",
)
CONNECTIONS = Gauge("ingest_connections", "Open connections of clients.")
CONNECTIONS_CUT = Counter(
    "ingest_connections_cut_total",
    "Connections ended early, by reason: crowded, malformed, head_too_large, head_too_slow, rest, pipelined, "
    "unread, or slow_reader.",
    ["reason"],
)
UNTAKEN = Counter(
    "ingest_untaken_requests_total",
    "Requests for paths that clients of a dialect use and ingest does not have, by dialect.",
    ["dialect"],
)
SKIPPED = Counter(
    "ingest_skipped_items_total",
    "Items of requests that hold nothing that is stored, such as spans that are no generation, by dialect.",
    ["dialect"],
)
LOOKUPS = Counter(
    "ingest_lookups_total", "Lookups of votes and requests in ClickHouse, by outcome.", ["outcome"]
)

request_count = cache(REQUESTS.labels)
request_seconds = cache(REQUEST_SECONDS.labels)
event_count = cache(EVENTS.labels)
