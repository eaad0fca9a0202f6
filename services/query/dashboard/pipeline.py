"""`/pipeline`: freshness, the lag of each stage, and whether the servers are up."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import Request, Response

from services.query.api.params import params_of
from services.query.core.pipeline_status import instant, verdict
from services.query.dashboard.render import page
from services.query.dashboard.routing import PageReader, page_router
from services.query.pipeline import pipeline

if TYPE_CHECKING:
    from services.query.service import QueryService

router = page_router()


@router.get("/pipeline")
async def show(request: Request, _reader: PageReader) -> Response:
    """Show how the pipeline is now."""
    service: QueryService = request.app.state.service
    with params_of(request, filters=False):
        pass
    report = await pipeline(service.positions, service.store)
    now = datetime.fromtimestamp(time.time(), UTC)
    status = report.status
    before = status.queryable_before if status else None
    return page(
        request,
        "pipeline.html",
        pipeline=status,
        problems=report.problems,
        refusals=report.refusals,
        verdict=verdict(status, now),
        behind=status.behind_seconds(now) if status else None,
        before=None if before is None else instant(before),
        stages=STAGES,
    )


STAGES = {
    "merger": ("Merger", "folds events into the latest state of each request"),
    "sink-state": ("Sink: rows", "stores these states, which queries return"),
    "sink-events": ("Sink: history", "stores each event, for the history of a request"),
    "sink-dlq": ("Sink: dead letters", "stores dead letters with their reasons"),
}
"""The title of each stage, and what it does."""
