"""What an interrupted rebuild left behind, and what to do about it: a step.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from services.operations.rebuild.core.kinds import Kind
from services.operations.rebuild.core.statements import BUILDING, FEEDS, GATE


@dataclass(frozen=True)
class Found:
    """A table as ClickHouse has it."""

    uuid: str
    comment: str
    definition: str = ""


class Step(Enum):
    """What to do next about a table before it can be made anew."""

    OPEN_GATE = "open the gate"
    MARK = "mark the shadow as incomplete"
    DROP_FEED = "drop the feed"
    DROP_SHADOW = "drop the shadow"
    DROP_SCRATCH = "drop the scratch table"
    FINISH = "drop the feed of a swap that is done"
    KEEP = "keep the old table under its last name"


DONE_BEFORE = frozenset({Step.FINISH, Step.KEEP})
"""Steps that end a rebuild whose swap is done: the live table is the new one."""


def next_step(kind: Kind, found: Mapping[str, Found]) -> Step | None:
    """Return the first thing to put right, None when nothing is left of an earlier rebuild.

    The swap is what decides: before it all is thrown away, after it all is kept.  The feed's comment names
    the shadow that it was made for, so it shows which side that is on now.
    """
    live, shadow, feed = (found.get(name) for name in (kind.table, kind.shadow, kind.feed))
    if live is not None and GATE in live.definition:
        return Step.OPEN_GATE
    if feed is not None:
        return _with_feed(live, shadow, feed)
    if shadow is not None:
        return Step.DROP_SHADOW if shadow.comment == BUILDING else Step.KEEP
    return Step.DROP_SCRATCH if kind.scratch in found else None


def _with_feed(live: Found | None, shadow: Found | None, feed: Found) -> Step:
    if live is not None and feed.comment == FEEDS + live.uuid:
        return Step.FINISH
    if shadow is not None and shadow.comment != BUILDING:
        return Step.MARK
    return Step.DROP_FEED
