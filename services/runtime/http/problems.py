"""How problems stand in an OpenAPI document: each status once, with every code that it may mean.  Pure."""

from collections.abc import Iterable
from typing import Any, Protocol

PROBLEM = "#/components/schemas/Problem"
"""Where a service's document has the schema of its problems."""


class Meaning(Protocol):
    """What a code means over HTTP."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def title(self) -> str:
        """The same in words."""

    @property
    def retry_after_seconds(self) -> int | None:
        """When to try again; None: it changes nothing."""


def problem_answers(problems: Iterable[tuple[str, Meaning]]) -> dict[int | str, dict[str, Any]]:
    """Return the answers that these codes are, by status, as FastAPI's `responses` takes them."""
    found: dict[int | str, dict[str, Any]] = {}
    for code, meaning in problems:
        answer = found.setdefault(
            meaning.status,
            {"description": "", "content": {"application/problem+json": {"schema": {"$ref": PROBLEM}}}},
        )
        answer["description"] += f"`{code}`: {meaning.title}. "
        if meaning.retry_after_seconds is not None:
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found
