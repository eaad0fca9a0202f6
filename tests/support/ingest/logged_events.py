"""The stored events of an ingest whose log is in memory: what was published can be read at once."""

from datetime import datetime

import orjson

from schemas.events import Op
from services.ingest.dialects.dialect import PastEvent, StoredQuery
from tests.support.ingest.fake_log import FakeLog


class LoggedEvents:
    """Reads the events of a log with one partition."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log

    async def read(self, tenant: str | None, query: StoredQuery) -> list[PastEvent]:
        """Return the events by request and version; `tenant` None: an item of any."""
        events = [_event(version, value) for version, value in enumerate(self._log.events)]
        if tenant is not None:
            events = [event for event in events if event.tenant == tenant]
        if query.item_id:
            named = {_request(event) for event in events if event.item_id == query.item_id}
            events = [event for event in events if _request(event) in named]
            if tenant is None:
                events = [one for one in events if query.item_id == one.item_id or one.op is Op.ERASE]
        else:
            events = [event for event in events if event.request_id in query.request_ids]
        return sorted(events, key=_request)


def _request(event: PastEvent) -> tuple[str, str]:
    return event.tenant, event.request_id


def _event(version: int, value: bytes) -> PastEvent:
    event = orjson.loads(value)
    at = event.get("at")
    return PastEvent(
        tenant=event["tenant"],
        request_id=event["request_id"],
        version=version,
        event_id=event["event_id"],
        item_id=event.get("item_id", ""),
        op=Op(event["op"]),
        source=event["source"],
        received_at=datetime.fromisoformat(event["received_at"]),
        at=None if at is None else datetime.fromisoformat(at),
        data=event.get("data", {}),
        request=event.get("request", {}),
    )
