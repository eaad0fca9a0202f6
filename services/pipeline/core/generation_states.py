"""The state of each topic generation, and which one is in use.

The truth is the largest record that each generation's events topic takes:

- `NEVER_OPENED`: the topics are being filled, and events are refused;
- `FILLING`: the same, but for `afterword recover`, which carries events over;
- `CLOSED`: the generation was in use, and Kafka refuses every event of any producer;
- anything else: it is open.

`afterword resize` makes a generation, closes the one before it and opens the new one, so at most one is open.
A newer one is opened only when everything of the older ones is merged and stored.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from schemas.topics import Topology

LIMIT = "max.message.bytes"
NEVER_OPENED, CLOSED = 0, 1
"""Values of the limit; the smallest batch of records has 61 bytes."""
FILLING = 1_111_111
"""Means the same as `NEVER_OPENED`, and lets the largest events through, grown by a header."""

_EVENTS = re.compile(re.escape(Topology().events.name) + r"(?:-v([0-9]+))?")


class GenerationState(Enum):
    """What may be done with a generation."""

    NEW = "new"
    """It was never opened."""
    OPEN = "open"
    CLOSED = "closed"
    """It was open, and takes nothing any more."""


@dataclass(frozen=True)
class Generation:
    """A generation that exists."""

    number: int
    standing: GenerationState
    partitions: int


def standing_of(limit: int) -> GenerationState:
    """Return the state of a generation whose events topic has this `max.message.bytes`."""
    if limit in (NEVER_OPENED, FILLING):
        return GenerationState.NEW
    return GenerationState.CLOSED if limit == CLOSED else GenerationState.OPEN


def in_use(found: Iterable[Generation]) -> int:
    """Return the generation to read: the newest that was ever opened; 0 before there are any topics."""
    return max((one.number for one in found if one.standing is not GenerationState.NEW), default=0)


def writable(found: Sequence[Generation]) -> int | None:
    """Return the generation that takes events, or None while the topics move to another one."""
    number = in_use(found)
    closed = any(one.number == number and one.standing is GenerationState.CLOSED for one in found)
    return None if closed else number


def number_of(topic: str) -> int | None:
    """Return the generation of an events topic, None for the name of another topic."""
    match = _EVENTS.fullmatch(topic)
    return None if match is None else int(match[1] or 0)
