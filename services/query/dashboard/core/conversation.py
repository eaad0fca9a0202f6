"""Prompts and responses as a conversation to read, whichever shape their sender gave them.  Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from services.query.dashboard.core.formatting import pretty

KEYS = ("messages", "prompt", "response")
"""The facts of a request that are shown as a conversation."""

_TYPED = {
    "data": ("tags", "helpful", "user_id", "rating", "comment"),
    "request": ("model", "provider", "latency_ms", "cost_usd", "started_at"),
}
"""Keys that have a column, and so a place of their own, if their value is one that the column takes."""


class Turn(NamedTuple):
    """What one side said."""

    role: str
    text: str


def conversation(request: Mapping[str, Any]) -> list[Turn]:
    """Return what was asked and answered, from texts, chat messages, or a whole response of a chat API."""
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
