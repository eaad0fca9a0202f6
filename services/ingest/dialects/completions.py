"""Reads the facts of a request in the forms of model providers, gateways and tracers."""

from collections.abc import Mapping
from typing import Any

import orjson

from schemas.instants import instant_of

MAX_CONTENT_BYTES = 200 << 10
"""Of a prompt, and of a response: larger ones are left out, so that the other facts fit into an event."""


def facts_of(prompt: Any, response: Any) -> dict[str, Any]:
    """Return what is known of model, tokens and id of the completion, with prompt and response."""
    return known(
        {
            "model": _member(response, "model"),
            "completion_id": _member(response, "id"),
            "prompt": content(prompt),
            "response": content(text_of(response)),
        }
    ) | token_facts(_member(response, "usage"))


PROMPT_TOKENS = ("prompt_tokens", "input_tokens", "promptTokens", "input")
COMPLETION_TOKENS = ("completion_tokens", "output_tokens", "completionTokens", "output")


def token_facts(usage: Any) -> dict[str, Any]:
    """Return the token counts of a usage object, in the forms of OpenAI, Anthropic and Langfuse."""
    names = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
    return known({fact: _first(usage, *forms) for fact, forms in names.items()})


def total_cost(costs: Any, total: str = "total") -> int | float | None:
    """Return the total of an object of costs in US dollars: the one that it names, else the sum."""
    if not isinstance(costs, Mapping):
        return None
    numbers = {name: cost for name, cost in costs.items() if type(cost) in (int, float)}
    return numbers.get(total, sum(numbers.values())) if numbers else None


def milliseconds(start: Any, end: Any) -> float | None:
    """Return the time between two times of any form, None if one cannot be read or they are swapped."""
    started, ended = instant_of(start), instant_of(end)
    if started is None or ended is None or ended < started:
        return None
    return (ended - started).total_seconds() * 1000


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
