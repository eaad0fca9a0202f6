"""Each rater's latest values of a request, event by event: the oracle of the views about raters.

Written from the laws of the merge, not from the views: events that count are replayed in order of version
into a dictionary, as if each rater had a row of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True)
class RaterEvent:
    """A stored event of one request.  `refused`: it has a dead letter that was not replayed."""

    version: int
    event_id: str
    op: str = "merge"
    data: dict[str, Any] | None = None
    refused: bool = False


@dataclass(frozen=True)
class RaterValue:
    """The value that a rater gave a key, and the version of the event that has it."""

    value: Any
    version: int


def counted(events: Iterable[RaterEvent]) -> list[RaterEvent]:
    """Return the events that count, by version: none that was refused, erased, or that repeats an id."""
    kept: list[RaterEvent] = []
    for event in sorted(events, key=lambda one: one.version):
        if event.refused:
            continue
        if event.op == "erase":
            kept = []
        if event.event_id not in {one.event_id for one in kept}:
            kept.append(event)
    return kept


def raters(events: Iterable[RaterEvent]) -> dict[tuple[str, str], RaterValue]:
    """Return the latest value of each rater, by (key, rater)."""
    given: dict[tuple[str, str], RaterValue] = {}
    for event in counted(events):
        if event.op != "merge":
            given.clear()
            continue
        data = event.data or {}
        user = data.get("user_id")
        rater = user if isinstance(user, str) else ""
        for key, value in data.items():
            if key == "user_id":
                continue
            given.pop((key, rater), None)
            if value is not None:
                given[key, rater] = RaterValue(value, event.version)
    return given


def number_of(value: Any) -> float | None:
    """Return a value as the column `number` has it."""
    return float(value) if isinstance(value, bool | int | float) else None


@dataclass(frozen=True)
class Agreement:
    """How far the raters of a key agree."""

    raters: int
    mean: float | None
    least: float | None
    most: float | None
    disagreement: float
    latest: Any


def agreement(given: dict[tuple[str, str], RaterValue], key: str) -> Agreement:
    """Return how far the raters of a key agree; at least one has a value."""
    values = [one for (name, _), one in given.items() if name == key]
    numbers = [number for one in values if (number := number_of(one.value)) is not None]
    classes: list[list[Any]] = []
    for one in values:
        for known in classes:
            if same(known[0], one.value):
                known.append(one.value)
                break
        else:
            classes.append([one.value])
    return Agreement(
        len(values),
        sum(numbers) / len(numbers) if numbers else None,
        min(numbers, default=None),
        max(numbers, default=None),
        1 - max(map(len, classes)) / len(values),
        max(values, key=lambda one: one.version).value,
    )


def same(one: Any, other: Any) -> bool:
    """Tell whether two values agree: numbers and booleans as numbers, all others as JSON text."""
    first, second = number_of(one), number_of(other)
    if first is not None or second is not None:
        return first == second
    return orjson.dumps(one) == orjson.dumps(other)
