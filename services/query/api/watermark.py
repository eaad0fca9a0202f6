"""`/v1/watermark`: up to which point of the log everything can be queried."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from services.query.access import Reader
from services.query.api import models
from services.query.api.openapi import described, parameter
from services.query.api.params import question
from services.query.core.pipeline_status import watermark
from services.query.core.waits import parse_wait
from services.query.pipeline import read_status

if TYPE_CHECKING:
    from services.query.service import Service

router = APIRouter(tags=["pipeline"])


WAIT = parameter("wait", "How long to wait until everything up to now can be queried.", examples=["2s"])


@router.get("/v1/watermark", operation_id="read_watermark", **described(models.Watermark, WAIT))
async def read_watermark(request: Request, _reader: Reader) -> dict[str, Any]:
    """Return up to which point everything can be queried; with `wait`, once that is past this question."""
    service: Service = request.app.state.service
    with question(request, {"wait"}, filters=False) as asking:
        text = asking.text("wait")
        most = service.settings.query_max_wait_seconds
        seconds = asking.read(lambda: parse_wait(text, most), 0.0) if text else 0.0
    status = await read_status(service.positions, seconds)
    return watermark(status, datetime.fromtimestamp(time.time(), UTC))
