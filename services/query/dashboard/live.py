"""`/live`: Server-Sent Events that say when to look again, and nothing else."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from services.query.access import Reader

if TYPE_CHECKING:
    from services.query.service import Service

router = APIRouter(include_in_schema=False)

READY = b"retry: 2000\nevent: ready\ndata: .\n\n"
CHANGE = b"event: change\ndata: .\n\n"
SIGNED_OUT = b"event: signed-out\ndata: .\n\n"
ALIVE = b":\n\n"

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}


@router.get("/live")
async def live(request: Request, reader: Reader) -> Response:
    """Answer with events for as long as the reader may read."""
    service: Service = request.app.state.service
    service.live.check_room(reader.tenant)
    return StreamingResponse(
        _events(service, request, reader.tenant), headers=HEADERS, media_type="text/event-stream"
    )


async def _events(service: "Service", request: Request, tenant: str) -> AsyncIterator[bytes]:
    with service.live.listening(tenant) as listener:
        yield READY
        while True:
            has_changed = await listener.changed(service.live.heartbeat_seconds)
            if listener.is_over:
                return
            if not service.access.may_still_read(request, tenant):
                yield SIGNED_OUT
                return
            yield CHANGE if has_changed else ALIVE
