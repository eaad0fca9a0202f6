"""Changes and deletes an item by id: returns the events after which a row has the latest values that count.

An item is what a client's system calls a score or a piece of feedback: all events of a request with the same
`item_id`.  A key of an item has the value of the latest of these events that names it; null withdraws the
value.  A value without an item id cannot be withdrawn: its null clears the key, as everywhere.
Events before the last retract or erase do not count.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from schemas.events import Op
from schemas.instants import rfc3339
from services.ingest.dialects.dialect import PastEvent, Submission

RATER = "user_id"
"""The key of `data` that names who gave a score; it belongs to every item that has it."""


class StoredItem(NamedTuple):
    """An item with at least one value that counts, other than its rater."""

    first: PastEvent
    """The event that created it."""
    last: PastEvent
    """The latest event that changed it."""
    data: dict[str, Any]
    """Its values, without those that were withdrawn."""
    history: Sequence[PastEvent]
    """All events of the request that count, by version."""

    def changed(self, data: Mapping[str, Any], at: str = "") -> list[Submission]:
        """Return the events that give these values to the item; null withdraws a value.

        The item's other values remain.  Empty if nothing changes; a rater can be replaced, but not withdrawn.
        """
        changes = {
            name: value
            for name, value in data.items()
            if value is not None or self.data.get(name) is not None
        }
        if not changes:
            return []
        kept = {name: value for name, value in {**self.data, **changes}.items() if value is not None}
        rater = kept.get(RATER, self.data.get(RATER))
        if rater is not None:
            changes[RATER] = rater
        change = Submission(self.first.request_id, changes, item_id=self.first.item_id, at=at)
        withdrawn = [name for name, value in changes.items() if value is None]
        return [change, *self._restated(withdrawn, rater, is_kept=_has_values(kept))]

    def deleted(self) -> list[Submission]:
        """Return the events that withdraw all values of the item, for its rater."""
        return self.changed({name: None for name in self.data if name != RATER})

    def _restated(self, withdrawn: Iterable[str], rater: Any, *, is_kept: bool) -> Iterator[Submission]:
        """Yield the latest other values of the withdrawn keys, oldest first, then the row's rater."""
        others = self._others((*withdrawn, RATER))
        event_of_rater = others.pop(RATER, None)
        other_rater = None if event_of_rater is None else event_of_rater.data[RATER]
        shown = other_rater if rater is None else rater
        restated: dict[int, tuple[PastEvent, list[str]]] = {}
        for name, event in others.items():
            restated.setdefault(event.version, (event, []))[1].append(name)
        for _, (event, names) in sorted(restated.items()):
            yield _restatement(event, names)
            shown = event.data.get(RATER, shown)
        if is_kept and rater is not None:
            event_of_rater, other_rater = None, rater
        if shown != other_rater:
            event = event_of_rater or self.last
            yield Submission(event.request_id, {RATER: other_rater}, item_id=event.item_id, at=_given(event))

    def _others(self, names: Iterable[str]) -> dict[str, PastEvent]:
        """Return the event with the latest value of other items for each key, unless it is cleared."""
        wanted, found = set(names), {}
        superseded: set[tuple[str, str]] = set()
        for event in reversed(self.history):
            if event.item_id == self.first.item_id:
                continue
            for name in wanted & event.data.keys():
                if (name, event.item_id) in superseded:
                    continue
                if event.data[name] is not None:
                    found[name] = event
                if event.data[name] is None and event.item_id:
                    superseded.add((name, event.item_id))
                else:
                    wanted.discard(name)
        return found


def stored_items(history: Iterable[PastEvent]) -> list[StoredItem]:
    """Return the items of requests, by request and age.  The events of each request are by version."""
    return [
        item
        for _, events in groupby(history, lambda event: (event.tenant, event.request_id))
        for item in _items_of_request(_counting(events))
    ]


def _items_of_request(counting: Sequence[PastEvent]) -> list[StoredItem]:
    by_item: dict[str, list[PastEvent]] = {}
    for event in counting:
        if event.item_id:
            by_item.setdefault(event.item_id, []).append(event)
    data = {}
    for item_id, own in by_item.items():
        values = {name: value for event in own for name, value in event.data.items()}
        data[item_id] = {name: value for name, value in values.items() if value is not None}
    counts = {"", *(item_id for item_id, values in data.items() if _has_values(values))}
    history = [event for event in counting if event.item_id in counts]
    return [
        StoredItem(own[0], own[-1], data[item_id], history)
        for item_id, own in by_item.items()
        if item_id in counts
    ]


def items_with_id(history: Iterable[PastEvent], item_id: str) -> list[StoredItem]:
    """Return the items with an id: at most one a request."""
    return [item for item in stored_items(history) if item.first.item_id == item_id]


def _counting(events: Iterable[PastEvent]) -> list[PastEvent]:
    """Return the events after the last retract or erase, without repeats."""
    counting: dict[str, PastEvent] = {}
    for event in events:
        if event.op is Op.MERGE:
            counting.setdefault(event.event_id, event)
        else:
            counting.clear()
    return list(counting.values())


def _has_values(data: Mapping[str, Any]) -> bool:
    return any(name != RATER for name in data)


def _restatement(event: PastEvent, names: Iterable[str]) -> Submission:
    data = {name: event.data[name] for name in names}
    if RATER in event.data:
        data[RATER] = event.data[RATER]
    return Submission(event.request_id, data, item_id=event.item_id, at=_given(event))


def _given(event: PastEvent) -> str:
    """Return when an event's values were given, as far as is known."""
    return rfc3339(event.at or event.received_at)
