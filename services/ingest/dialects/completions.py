"""Reads the facts of a request from the response of a model provider."""

from collections.abc import Mapping
from typing import Any

import orjson

MAX_CONTENT_BYTES = 200 << 10
"""Of a prompt, and of a response: larger ones are left out, so that the other facts fit into an event."""


def facts_of(prompt: Any, response: Any) -> dict[str, Any]:
    """Return what is known of model, tokens and id of the completion, with prompt and response."""
    usage = _member(response, "usage")
    return known(
        {
            "model": _member(response, "model"),
            "completion_id": _member(response, "id"),
            "prompt_tokens": _first(usage, "prompt_tokens", "input_tokens"),
            "completion_tokens": _first(usage, "completion_tokens", "output_tokens"),
            "prompt": content(prompt),
            "response": content(text_of(response)),
        }
    )


def text_of(response: Any) -> Any:
    """Return the text of a completion with one choice, and any other response as it is."""
    choices = _member(response, "choices")
    if isinstance(choices, list) and len(choices) == 1:
        text = _member(_member(choices[0], "message"), "content")
        if isinstance(text, str):
            return text
    return response


def content(value: Any) -> Any:
    """Return a prompt or a response, None if it is empty or too large to keep."""
    if value in (None, "", [], {}):
        return None
    try:
        size = len(orjson.dumps(value))
    except TypeError:  # the validation that follows names what is wrong
        return value
    return value if size <= MAX_CONTENT_BYTES else None


def known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that have a value."""
    return {name: value for name, value in facts.items() if value is not None}


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _first(value: Any, *names: str) -> Any:
    return next((found for name in names if (found := _member(value, name)) is not None), None)
