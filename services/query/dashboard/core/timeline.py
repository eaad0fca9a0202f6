"""The timeline of a request: its events in words.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.query.dashboard.core.formatting import plain, shortened

SOURCES = {"gptboost": "GPTBoost", "requesty": "Requesty", "native": "Afterword", "cli": "command line"}
"""Dialects as they write their names."""

_FIRST = ("rating", "comment", "message", "tags")
_KEPT = "as before"
_TITLES = {"retract": "Feedback taken back", "erase": "Erased"}
_KINDS = (("set", "set"), ("replaced", "replaced"), ("cleared", "cleared"), ("kept", _KEPT))
_PARTS = {
    frozenset[str](): "Said again",
    frozenset({"data"}): "Feedback",
    frozenset({"request"}): "Request facts",
    frozenset({"data", "request"}): "Feedback and request facts",
}
_VALUE = 400
"""Characters of a value that the timeline shows; the event beside it has all of them."""


class Key(NamedTuple):
    """What happened to a key.  `value` is empty for a cleared one."""

    part: str
    name: str
    kind: str
    value: str


@dataclass(frozen=True)
class Entry:
    """One event."""

    title: str
    source: str
    tone: str
    """The class of its mark: `is-negative` for what was given up, `is-muted` for what changed nothing."""
    keys: tuple[Key, ...]
    event: Mapping[str, Any]


def entry(event: Mapping[str, Any]) -> Entry:
    """Return an event of a request's history as the timeline shows it."""
    keys = tuple(key for part in ("data", "request") for key in _keys(part, event))
    return Entry(
        _title(event, keys), SOURCES.get(event["source"], event["source"]), _tone(event), keys, event
    )


def _title(event: Mapping[str, Any], keys: tuple[Key, ...]) -> str:
    match event["outcome"]:
        case "ignored":
            return "Ignored"
        case "dead_lettered":
            return "Given up"
        case "pending":
            return "On its way"
    if event["op"] in _TITLES:
        return _TITLES[event["op"]]
    return _PARTS[frozenset(key.part for key in keys if key.kind != _KEPT)]


def _tone(event: Mapping[str, Any]) -> str:
    if event["outcome"] == "dead_lettered":
        return "is-negative"
    if event["outcome"] != "merged":
        return "is-muted"
    return "is-neutral" if event["op"] in _TITLES else ""


def _keys(part: str, event: Mapping[str, Any]) -> list[Key]:
    did = event["changes"][part]
    found = [
        Key(part, name, word, _value(event[part].get(name)))
        for kind, word in _KINDS
        for name in sorted(did[kind], key=_place)
    ]
    if not found and event["outcome"] != "merged":
        found = [Key(part, name, "", _value(value)) for name, value in event[part].items()]
    return found


def _place(name: str) -> tuple[int, str]:
    """Return where a key stands: what people look for first comes first."""
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _value(value: Any) -> str:
    return "" if value is None else shortened(plain(value), _VALUE)
