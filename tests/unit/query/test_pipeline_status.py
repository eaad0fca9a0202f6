"""How the pipeline is, in a sentence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.topics import Topology
from services.pipeline.core.snapshot import PipelineSnapshot
from services.pipeline.core.watermark import PipelineStatus, QueryableWatermark, pipeline_status
from services.query.core.pipeline_status import verdict, watermark

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
TOPOLOGY = Topology(2)
GROUPS = [stage.group for stage in TOPOLOGY.stages]


def looked(consumers: int | None = 1, *, at: datetime = AT, **changes: Any) -> PipelineStatus:
    """Return a pipeline of two partitions through which everything has passed."""
    positions: dict[str, Any] = {
        "logged": {0: 5, 1: 0},
        "merged": {0: 5},
        "states": {0: 9, 1: 0},
        "stored_states": {0: 9},
        "stored_events": {0: 5},
        "letters": {"dlq": 2},
        "stored_letters": {"dlq": 2},
    }
    seen = PipelineSnapshot(at=at, **positions | changes)
    counted = None if consumers is None else dict.fromkeys(GROUPS, consumers)
    return pipeline_status(seen, QueryableWatermark().after(seen), TOPOLOGY, asked_at=at, consumers=counted)


def test_what_has_passed_everything_is_fresh() -> None:
    """No lag, and the watermark is the moment of the look."""
    found = looked()

    assert found.lag == 0
    assert found.queryable_before == AT
    assert watermark(found, AT + timedelta(seconds=2)) == {
        "queryable_before": "2026-11-22T08:00:00.000000Z",
        "behind_seconds": 2.0,
        "asked_at": "2026-11-22T08:00:00.000000Z",
        "reached": True,
        "generation": 2,
        "stages": [
            {"name": name, "group": group, "lag": 0, "consumers": 1}
            for name, group in zip(("merger", "sink-state", "sink-events", "sink-dlq"), GROUPS, strict=True)
        ],
        "partitions": [
            {
                "partition": 0,
                "logged": 5,
                "merged": 5,
                "states": 9,
                "stored_states": 9,
                "stored_events": 5,
                "queryable_below_version": str((2 << 48) | 5),
            },
            {
                "partition": 1,
                "logged": 0,
                "merged": 0,
                "states": 0,
                "stored_states": 0,
                "stored_events": 0,
                "queryable_below_version": str(2 << 48),
            },
        ],
    }


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({"merged": {0: 2}}, "merger"),
        ({"stored_states": {0: 6}}, "sink-state"),
        ({"stored_events": {0: 2}}, "sink-events"),
        ({"letters": {"dlq": 5}}, "sink-dlq"),
    ],
)
def test_what_is_before_a_stage_is_its_lag(change: dict[str, Any], stage: str) -> None:
    """In records, and no other stage's."""
    found = looked(**change)

    assert {one.name: one.lag for one in found.stages if one.lag} == {stage: 3}


def test_a_pipeline_that_is_behind_shows_since_when() -> None:
    """Nothing is claimed before it was seen to pass."""
    found = looked(merged={0: 4})

    assert not found.reached
    assert found.behind_seconds(AT) is None
    assert watermark(found, AT)["queryable_before"] is None


def test_the_verdict_names_what_is_wrong_first() -> None:
    """A server that is away, then parts that do not run, then rows that are old."""
    late = AT + timedelta(minutes=1)

    titles = [
        verdict(None, AT).title,
        verdict(looked(0), AT).title,
        verdict(looked(merged={}), AT).title,
        verdict(looked(), late).title,
        verdict(looked(), AT).title,
        verdict(looked(None), AT).title,
    ]

    assert titles == [
        "A server is unreachable",
        "Not running: merger, sink-state, sink-events, sink-dlq",
        "Processing is behind",
        "Processing is behind",
        "All systems operational",
        "All systems operational",
    ]
