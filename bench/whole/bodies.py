"""The bodies of a load: NDJSON of 500 partial events each, cheap enough to be made while it is sent.  Pure.

A cycle of bodies is made once; a later one is the same with another word in each request id, so that
requests never repeat between cycles, and a body costs a few microseconds.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.events import Item, lines, partials
from schemas.identity import event_key, partition_of

EVENTS = 500
CYCLE = 300
"""Bodies of a cycle: the 1 to 6 events of a request are spread over 150,000."""
_WORD = b"cycle-00000000"


@dataclass(frozen=True)
class Cycle:
    """Bodies with a place for the number of their cycle."""

    bodies: tuple[bytes, ...]

    def __iter__(self) -> Iterator[bytes]:
        """Yield body after body, for ever."""
        number = 0
        while True:
            word = b"cycle-%08x" % number
            for body in self.bodies:
                yield body.replace(_WORD, word)
            number += 1


def cycle(bodies: int = CYCLE, seed: int = 1) -> Cycle:
    """Return a cycle of so many bodies."""
    items = ({**item, "request_id": _name(item)} for item in partials(bodies * EVENTS, seed=seed))
    return Cycle(tuple(lines(items, EVENTS)))


def _name(item: Item) -> str:
    # In the middle: ids of one cycle lie all over the table's order, as those of model APIs do.
    number = int(item["request_id"].rpartition("-")[2])
    return f"chatcmpl-{number * 2_654_435_761 % 2**32:08x}-{_WORD.decode()}"


def probes(number: int, partitions: int) -> dict[int, bytes]:
    """Return the request ids that stand for a body, one for each partition: the last of all by name."""
    found: dict[int, bytes] = {}
    chance = random.Random(number)
    while len(found) < partitions:
        name = f"~{number}-{chance.getrandbits(32):08x}"
        found.setdefault(partition_of(event_key("default", name), partitions), name.encode())
    return found


def probe_lines(names: dict[int, bytes]) -> bytes:
    """Return the events of these requests, to follow a body."""
    return b"".join(b'\n{"request_id":"%b","data":{"rating":5}}' % name for name in names.values())
