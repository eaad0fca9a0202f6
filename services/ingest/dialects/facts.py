"""Facts about a request in the names that all dialects use, from the forms in which tracers send them."""

from collections.abc import Mapping
from typing import Any

from schemas.instants import instant_of

_PROMPT = ("input", "input_tokens", "prompt_tokens", "promptTokens", "inputTokens")
_COMPLETION = ("output", "output_tokens", "completion_tokens", "completionTokens", "outputTokens")


def known(**facts: Any) -> dict[str, Any]:
    """Return the facts that have a value."""
    return {name: value for name, value in facts.items() if value is not None}


def token_facts(usage: Any) -> dict[str, Any]:
    """Return the token counts of a usage object, in any of the forms of OpenAI, Anthropic and Langfuse."""
    if not isinstance(usage, Mapping):
        return {}
    return known(prompt_tokens=_first(usage, _PROMPT), completion_tokens=_first(usage, _COMPLETION))


def total_cost(details: Any, total: str = "total") -> int | float | None:
    """Return the total of an object of costs in US dollars: what it names so, else the sum of the others."""
    if not isinstance(details, Mapping):
        return None
    if _is_number(details.get(total)):
        return details[total]  # type: ignore[no-any-return]
    costs = [cost for cost in details.values() if _is_number(cost)]
    return sum(costs) if costs else None


def milliseconds(start: Any, end: Any) -> float | None:
    """Return the time between two times of any form, None if it is negative or a time cannot be read."""
    started, ended = instant_of(start), instant_of(end)
    if started is None or ended is None or ended < started:
        return None
    return (ended - started).total_seconds() * 1000


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((usage[name] for name in names if _is_number(usage.get(name))), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
