"""Decides which part of the log to check next, and how much of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Backlog(NamedTuple):
    """A partition: up to where it was looked at, and up to where it is stored."""

    partition: int
    position: int
    stored: int


SHARE = 0.05
"""Of the time, at most: these lookups read all over ClickHouse's table, and compete with other queries."""


def events_in(seconds: float, events_a_second: float, seconds_an_event: float) -> int:
    """Return how many events to look for after `seconds`, given how long an event took the last time."""
    rate = events_a_second
    if seconds_an_event > 0:
        rate = min(rate, SHARE / seconds_an_event)
    return max(1, int(seconds * rate))


def next_stretches(places: Iterable[Backlog], budget: int) -> Iterator[Backlog]:
    """Yield stretches of as many offsets in all: those that are behind share alike, the least first.

    `stored` of a stretch is its end.
    """
    left = sorted(
        (one for one in places if one.position < one.stored), key=lambda one: one.stored - one.position
    )
    for number, one in enumerate(left):
        count = min(one.stored - one.position, -(-budget // (len(left) - number)))
        if count:
            yield one._replace(stored=one.position + count)
        budget -= count
