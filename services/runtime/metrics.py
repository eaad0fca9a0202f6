"""What every service's `metrics.py` shares: buckets, and the page that Prometheus reads.

A service declares all its metrics as constants in its own `metrics.py`, named
`<service>_<noun>_<unit|total>`, with a description and label values from closed sets.
"""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets for latencies, in seconds."""

COUNTS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
"""Buckets for sizes of batches, in records."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


def page(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return all metrics of this process in Prometheus' text format."""
    return generate_latest(registry)
