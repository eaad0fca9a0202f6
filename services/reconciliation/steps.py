"""Which part of the log to look at next.  Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Behind(NamedTuple):
    """A partition: up to where it was looked at, and up to where it is stored."""

    partition: int
    position: int
    stored: int


def next_stretches(places: Iterable[Behind], budget: int) -> Iterator[Behind]:
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
