"""Events made again from their rows, for what logs no longer have.  Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.events import Op
from schemas.identity import event_key, split_version
from services.operations.verify.core.evidence import LogEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EMPTY = "{}"


def event_of(row: Sequence[Any]) -> LogEvent:
    """Return the record that a row of `statements.history` was made from.

    Whether a part was absent or empty is not known any more; no merge tells them apart.
    """
    (
        tenant, request_id, version, partition, log_offset, appended_ms, event_id, op, source, received_us,
        idempotent, data, request,
    ) = row  # fmt: skip
    generation, offset = split_version(log_offset)
    body: dict[str, Any] = {
        "event_id": event_id,
        "tenant": tenant,
        "request_id": request_id,
        "received_at": (_EPOCH + timedelta(microseconds=received_us)).isoformat(timespec="microseconds"),
        "source": source,
        "op": op,
    }
    if op == Op.MERGE:
        body |= {
            name: orjson.Fragment(text)
            for name, text in (("data", data), ("request", request))
            if text != _EMPTY
        }
    if idempotent:
        body["idempotent"] = True
    replays: list[tuple[bytes, bytes | None]] = [(REPLAY_VERSION_HEADER.encode(), b"%d" % version)]
    headers = [] if version == log_offset else replays
    key, value = event_key(tenant, request_id), orjson.dumps(body)
    return LogEvent(key, generation, partition, offset, appended_ms, value, headers, is_rebuilt=True)
