"""`/v1/watermark`: up to which point of the log everything can be queried."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from services.query.access import Reader
from services.query.api import models
from services.query.api.openapi import described, parameter
from services.query.api.params import params_of
from services.query.core.pipeline_status import watermark
from services.query.pipeline import read_status
from services.query.waiting import parse_wait

if TYPE_CHECKING:
    from services.query.service import QueryService

router = APIRouter(tags=["pipeline"])


WAIT = parameter("wait", "The longest wait until everything up to now can be queried.", examples=["2s"])


@router.get("/v1/watermark", operation_id="read_watermark", **described(models.Watermark, WAIT))
async def read_watermark(request: Request, _reader: Reader) -> dict[str, Any]:
    """Return up to which point everything can be queried; with `wait`, once it is past this request."""
    service: QueryService = request.app.state.service
    with params_of(request, {"wait"}, filters=False) as asking:
        text = asking.text("wait")
        most = service.settings.query_max_wait_seconds
        seconds = asking.read(lambda: parse_wait(text, most), 0.0) if text else 0.0
    status = await read_status(service.positions, seconds)
    return watermark(status, datetime.fromtimestamp(time.time(), UTC))
