"""Which keys each event of a request set, replaced and cleared.  Pure.

Events are taken in the order of their versions, which decides, wherever their records stand in the log: the
keys that are left after the last one are the row's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.events import Op

Fields = Mapping[str, Any]
"""The keys that an event names, each with its value or something that stands for it; None for null."""


class Event(NamedTuple):
    """An event as far as it changes keys.  `counts` is False for one that was not merged."""

    op: str
    data: Fields
    request: Fields
    counts: bool


@dataclass(frozen=True)
class Changed:
    """Keys by what happened to them, by name.  What an event repeats as it was, is `kept`."""

    set: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


class Changes(NamedTuple):
    """What an event did to both parts of the row."""

    data: Changed
    request: Changed


def changes(events: Iterable[Event]) -> list[Changes]:
    """Return what each event did, given all of them in the order of their versions."""
    data: dict[str, Any] = {}
    request: dict[str, Any] = {}
    return [_apply(event, data, request) for event in events]


def _apply(event: Event, data: dict[str, Any], request: dict[str, Any]) -> Changes:
    if not event.counts:
        return Changes(Changed(), Changed())
    match event.op:
        case Op.RETRACT:
            return Changes(_clear(data), Changed())
        case Op.ERASE:
            return Changes(_clear(data), _clear(request))
        case _:
            return Changes(_put(data, event.data), _put(request, event.request))


def _clear(known: dict[str, Any]) -> Changed:
    cleared = sorted(known)
    known.clear()
    return Changed(cleared=cleared)


def _put(known: dict[str, Any], fields: Fields) -> Changed:
    changed = Changed()
    for key in sorted(fields):
        value = fields[key]
        if value is None:
            if known.pop(key, None) is not None:
                changed.cleared.append(key)
            continue
        before = known.get(key)
        known[key] = value
        if before is None:
            changed.set.append(key)
        else:
            (changed.kept if before == value else changed.replaced).append(key)
    return changed
