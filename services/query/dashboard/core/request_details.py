"""The page of a request: prompts and responses as a conversation, and its events as a timeline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.query.dashboard.core.formatting import plain, pretty, shortened

KEYS = ("messages", "prompt", "response")
"""The keys of a request that are shown as a conversation."""

_TYPED = {
    "data": ("tags", "helpful", "user_id", "rating", "comment"),
    "request": ("model", "provider", "latency_ms", "cost_usd", "started_at"),
}
"""Keys with a column, which pages show separately if the column has a value."""


class Turn(NamedTuple):
    """One message of a conversation."""

    role: str
    text: str


def conversation(request: Mapping[str, Any]) -> list[Turn]:
    """Return the messages, from texts, chat messages, or a whole response of a chat API."""
    turns: list[Turn] = []
    for key, role in (("messages", "prompt"), ("prompt", "prompt"), ("response", "response")):
        if request.get(key) not in (None, "", [], {}):
            turns += _turns(request[key], role)
    return turns


def others(row: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the keys of `data` or `request` that a page shows nowhere else."""
    shown = {name for name in _TYPED[part] if row[name] not in (None, "", [])}
    shown |= set(KEYS) if part == "request" else set()
    if part == "data" and row["comment"] == row["data"].get("message"):
        shown = shown - {"comment"} | {"message"}
    return {name: value for name, value in row[part].items() if name not in shown}


def _turns(value: Any, role: str) -> Iterator[Turn]:
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        for choice in value["choices"]:
            yield from _turns(choice.get("message", choice) if isinstance(choice, Mapping) else choice, role)
    elif isinstance(value, Mapping) and "content" in value:
        yield Turn(_role(value, role), _text(value["content"]))
    elif isinstance(value, list) and all(isinstance(one, Mapping) and "content" in one for one in value):
        for one in value:
            yield from _turns(one, role)
    else:
        yield Turn(role, _text(value))


def _role(message: Mapping[str, Any], otherwise: str) -> str:
    role = message.get("role")
    return role if isinstance(role, str) and role else otherwise


def _text(value: Any) -> str:
    """Return text as it is, the texts of a message's parts, and everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_text(part) for part in value):
        return "\n\n".join(part["text"] for part in value)
    return pretty(value)


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)


class RatedKey(NamedTuple):
    """A key that several raters have a value of: how far they agree, and their values, newest first."""

    agreement: Mapping[str, Any]
    values: list[Mapping[str, Any]]


def rated_keys(raters: Sequence[Mapping[str, Any]], agreement: Sequence[Mapping[str, Any]]) -> list[RatedKey]:
    """Return the keys with more than one rater, by name."""
    return [
        RatedKey(one, [value for value in raters if value["key"] == one["key"]])
        for one in agreement
        if one["raters"] > 1
    ]


SOURCES = {
    "cli": "command line",
    "gptboost": "GPTBoost",
    "helicone": "Helicone",
    "langfuse": "Langfuse",
    "langsmith": "LangSmith",
    "litellm": "LiteLLM",
    "native": "Afterword",
    "otel": "OpenTelemetry",
    "phoenix": "Phoenix",
    "portkey": "Portkey",
    "requesty": "Requesty",
    "tensorzero": "TensorZero",
}
"""The names of dialects."""

_FIRST = ("rating", "comment", "message", "tags")
_KEPT = "unchanged"
_TITLES = {"retract": "Feedback retracted", "erase": "Erased"}
_KINDS = (("set", "set"), ("replaced", "replaced"), ("cleared", "cleared"), ("kept", _KEPT))
_PARTS = {
    frozenset[str](): "Repeated",
    frozenset({"data"}): "Feedback",
    frozenset({"request"}): "Request data",
    frozenset({"data", "request"}): "Feedback and request data",
}
_VALUE = 400
"""The most characters of a value in the timeline; the event has the whole value."""


class TimelineKey(NamedTuple):
    """A change of a key; `value` is empty for a cleared one."""

    part: str
    name: str
    kind: str
    value: str


@dataclass(frozen=True)
class TimelineEntry:
    """One event."""

    title: str
    source: str
    tone: str
    """The CSS class: `is-negative` for dead-lettered events, `is-muted` for those that changed nothing."""
    keys: tuple[TimelineKey, ...]
    event: Mapping[str, Any]


def entry(event: Mapping[str, Any]) -> TimelineEntry:
    """Return an event of a request's history as the timeline shows it."""
    keys = tuple(key for part in ("data", "request") for key in _keys(part, event))
    return TimelineEntry(
        _title(event, keys), SOURCES.get(event["source"], event["source"]), _tone(event), keys, event
    )


def _title(event: Mapping[str, Any], keys: tuple[TimelineKey, ...]) -> str:
    match event["outcome"]:
        case "ignored":
            return "Ignored"
        case "dead_lettered":
            return "Dead-lettered"
        case "pending":
            return "Pending"
    if event["op"] in _TITLES:
        return _TITLES[event["op"]]
    return _PARTS[frozenset(key.part for key in keys if key.kind != _KEPT)]


def _tone(event: Mapping[str, Any]) -> str:
    if event["outcome"] == "dead_lettered":
        return "is-negative"
    if event["outcome"] != "merged":
        return "is-muted"
    return "is-neutral" if event["op"] in _TITLES else ""


def _keys(part: str, event: Mapping[str, Any]) -> list[TimelineKey]:
    did = event["changes"][part]
    found = [
        TimelineKey(part, name, word, _value(event[part].get(name)))
        for kind, word in _KINDS
        for name in sorted(did[kind], key=_place)
    ]
    if not found and event["outcome"] != "merged":
        found = [TimelineKey(part, name, "", _value(value)) for name, value in event[part].items()]
    return found


def _place(name: str) -> tuple[int, str]:
    """Return the sort key of a key: the most relevant keys come first."""
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _value(value: Any) -> str:
    return "" if value is None else shortened(plain(value), _VALUE)
