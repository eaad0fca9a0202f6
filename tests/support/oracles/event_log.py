"""What an event log and the latest state are, in the fewest words: the oracle of tests that send events.

Written from the rules, not from the services: an event whose id is among the 8 newest idempotent ones
of its request is a repeat; a merge replaces the keys it names and null clears one; a retract clears `data`.
"""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

REMEMBERED = 8


@dataclass(frozen=True)
class Logged:
    """One event in the log.  `event_id` is None when nothing would recognise a repeat of it."""

    request_id: str
    event_id: str | None
    op: str
    data: dict[str, Any]
    request: dict[str, Any]


@dataclass
class Row:
    """The latest state of a request, and the events that made it, repeats left out."""

    data: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    admitted: list[Logged] = field(default_factory=list)


class EventLog:
    """Events in the order in which they were appended."""

    def __init__(self) -> None:
        self.events: list[Logged] = []

    def append(self, item: dict[str, Any], key: str | None = None, index: int = 0) -> int:
        """Append an event, under an Idempotency-Key if there is one; return its offset."""
        request_id = item["request_id"]
        named = hashlib.sha256(json.dumps([request_id, key, index]).encode()).hexdigest()
        self.events.append(
            Logged(
                request_id,
                None if key is None else named,
                item.get("op", "merge"),
                item.get("data") or {},
                item.get("request") or {},
            )
        )
        return len(self.events) - 1

    def rows(self) -> dict[str, Row]:
        """Return the latest state of every request."""
        rows: dict[str, Row] = defaultdict(Row)
        recent: dict[str, list[str]] = defaultdict(list)
        for event in self.events:
            known = recent[event.request_id]
            if event.event_id is not None:
                if event.event_id in known:
                    continue
                recent[event.request_id] = [*known, event.event_id][-REMEMBERED:]
            _merge(rows[event.request_id], event)
        return dict(rows)


def _merge(row: Row, event: Logged) -> None:
    row.admitted.append(event)
    if event.op == "retract":
        row.data = {}
        return
    for part, fields in ((row.data, event.data), (row.request, event.request)):
        for name, value in fields.items():
            if value is None:
                part.pop(name, None)
            else:
                part[name] = value
