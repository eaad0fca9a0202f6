"""The history of a request, as readers get it: every event, what it changed, and what became of it.  Pure.

Events at or below an erase are not part of it: an erase removes what was said for good.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import orjson

from schemas.deadletters import Stage
from schemas.events import Op
from schemas.identity import split_version, version_of
from schemas.topics import Topology
from services.query.reads.core.changes import Changes, Event, changes
from services.query.reads.core.outcomes import NEVER, Became, Letter, Logged, Outcome, outcomes, pending

Row = Mapping[str, Any]

PARTS = ("data", "request")

_BEHIND = pending("the row that is stored has not come to it yet")


def logged(row: Row) -> Logged:
    """Return a stored event as far as its outcome depends on it."""
    return Logged(row["version"], row["log_offset"], row["event_id"], row["op"], bool(row["idempotent"]))


def letter_of(row: Row) -> Letter:
    """Return a stored dead letter as far as outcomes depend on it."""
    generation = generation_of(row["original_topic"])
    is_row = row["stage"] == Stage.SINK and row["original_topic"] == Topology(generation).state.name
    version = row["row_version"] if is_row else row["original_version"]
    return Letter(
        stage=row["stage"],
        reason=row["reason"],
        detail=row["detail"],
        place=version_of(generation, row["original_offset"]),
        version=NEVER if version is None else version,
        is_row=is_row,
        failed_at=row["failed_at"],
        replayed_at=row["replayed_at"],
    )


def generation_of(topic: str) -> int:
    """Return the generation in a topic's name: `feedback-events-v2` is 2, a name without one is 0."""
    _, dash, suffix = topic.rpartition("-v")
    return int(suffix) if dash and suffix.isascii() and suffix.isdigit() else 0


def visible(events: Iterable[Row], outcome: Mapping[int, Became]) -> list[Row]:
    """Return the events that are not erased, in the order of their versions.

    An erase that the merger has not come to hides already what it is about to remove.
    """
    rows = list(events)
    erased = _erased(rows, {version for version, one in outcome.items() if one.outcome in _ERASING})
    return sorted((row for row in rows if row["version"] >= erased), key=lambda row: row["version"])


_ERASING = (Outcome.MERGED, Outcome.PENDING)


def _erased(rows: Iterable[Row], counting: Container[int]) -> int:
    """Return the version of the newest erase among those that count."""
    return max(
        (row["version"] for row in rows if row["op"] == Op.ERASE and row["version"] in counting),
        default=NEVER,
    )


def became(events: Iterable[Row], letters: Sequence[Letter], row_version: int | None) -> dict[int, Became]:
    """Return what became of each event, by version, as far as the row that is stored tells.

    All `events` are needed, also those that are erased.  An event that the row has not come to is pending.
    """
    rows = list(events)
    found = outcomes(map(logged, rows), letters)
    merged = {version for version, one in found.items() if one.outcome is Outcome.MERGED}
    if row_version is None:
        # Erased, or not stored yet: only what an erase came after is over.
        row_version = _erased(rows, merged)
    return found | {version: _BEHIND for version in merged if version > row_version}


def changed(events: Sequence[Row], outcome: Mapping[int, Became]) -> dict[int, Changes]:
    """Return what each visible event changed, by version; a new generation of topics begins anew.

    An event that is pending changes nothing yet.
    """
    found: dict[int, Changes] = {}
    for _, group in groupby(events, key=lambda event: split_version(event["version"])[0]):
        generation = list(group)
        told = changes(_event(row, outcome[row["version"]]) for row in generation)
        found |= {row["version"]: one for row, one in zip(generation, told, strict=True)}
    return found


def _event(row: Row, became: Became) -> Event:
    data, request = ({key: value or None for key, value in row[f"{part}_keys"]} for part in PARTS)
    return Event(row["op"], data, request, counts=became.outcome is Outcome.MERGED)


def item(event: Row, body: Row, did: Changes, outcome: Became) -> dict[str, Any]:
    """Return an event as readers get it."""
    data, request = orjson.loads(body["data"]), orjson.loads(body["request"])
    return {
        "version": str(event["version"]),
        "event_id": event["event_id"],
        "op": event["op"],
        "source": body["source"],
        "user_id": _user(data, request),
        "received_at": body["received_at"],
        "appended_at": body["appended_at"],
        "idempotent": bool(event["idempotent"]),
        "replayed": event["log_offset"] > event["version"],
        "data": data,
        "request": request,
        "changes": {"data": asdict(did.data), "request": asdict(did.request)},
        "outcome": outcome.outcome,
        "outcome_reason": outcome.reason,
        "outcome_detail": outcome.detail,
    }


def _user(*parts: Mapping[str, Any]) -> str:
    """Return who the event itself says that it comes from, as the column of the row has it."""
    for part in parts:
        value = part.get("user_id")
        if value not in (None, ""):
            return value if isinstance(value, str) else orjson.dumps(value).decode()
    return ""
