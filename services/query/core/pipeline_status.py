"""The status of the pipeline as the API returns it and the pages show it."""

from datetime import datetime
from typing import Any, NamedTuple

from schemas.identity import version_of
from services.pipeline.core.watermark import PartitionStatus, PipelineStatus


def watermark(status: PipelineStatus, now: datetime) -> dict[str, Any]:
    """Return the body of `/v1/watermark`."""
    before, behind = status.queryable_before, status.behind_seconds(now)
    return {
        "queryable_before": None if before is None else instant(before),
        "behind_seconds": None if behind is None else round(behind, 3),
        "asked_at": instant(status.asked_at),
        "reached": status.reached,
        "generation": status.generation,
        "stages": [
            {"name": stage.name, "group": stage.group, "lag": stage.lag, "consumers": stage.consumers}
            for stage in status.stages
        ],
        "partitions": [_shown(partition, status.generation) for partition in status.partitions],
    }


def _shown(partition: PartitionStatus, generation: int) -> dict[str, Any]:
    below = partition.queryable_below
    return {
        "partition": partition.number,
        "logged": partition.logged,
        "merged": partition.merged,
        "states": partition.states,
        "stored_states": partition.stored_states,
        "stored_events": partition.stored_events,
        "queryable_below_version": None if below is None else str(version_of(generation, below)),
    }


def instant(moment: datetime) -> str:
    """Return a time in UTC as RFC 3339, with microseconds."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class PipelineVerdict(NamedTuple):
    """The state of the pipeline in one sentence, what to do about it, and the CSS class of the notice."""

    title: str
    advice: str
    style: str


SLOW_SECONDS = 30.0
"""Freshness beyond which processing is reported as behind; usually it is below two seconds."""


def verdict(status: PipelineStatus | None, now: datetime) -> PipelineVerdict:
    """Return the state of the pipeline; `status` is None while a server is unreachable."""
    if status is None:
        return PipelineVerdict(
            "A server is unreachable",
            "Restart it, or check its log. No data is lost.",
            "notice-bad",
        )
    idle = [stage.name for stage in status.stages if stage.consumers == 0]
    if idle:
        return PipelineVerdict(
            f"Not running: {', '.join(idle)}",
            "Start merger and sink: `afterword up` runs both. Acknowledged feedback waits in the log.",
            "notice-bad",
        )
    behind = status.behind_seconds(now)
    if behind is None or behind > SLOW_SECONDS:
        return PipelineVerdict(
            "Processing is behind",
            "The backlog is being processed. If the lag of a stage does not shrink, check its log.",
            "notice-warn",
        )
    return PipelineVerdict(
        "All systems operational", "Feedback that is acknowledged now can be queried within moments.", ""
    )
