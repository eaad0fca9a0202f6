"""At which version an event of the old log counts that ClickHouse does not have.  Pure.

Carried over as a replay of its own place it counts where it always did, whatever was merged since.  But a log
that was cut short gave offsets out twice: what was acknowledged after the cut has the place of an event that
only ClickHouse still has.  It came later than that one, so it counts behind it, and before what followed it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Told(NamedTuple):
    """A row of `feedback_events`: its version, where its record stood, and what it says."""

    version: int
    log_offset: int
    partition: int
    digest: int


class Logged(NamedTuple):
    """An event as the old log has it: `own` is the version of its place, at `version` it counts."""

    own: int
    version: int
    partition: int
    digest: int


def is_stored(event: Logged, told: Iterable[Told]) -> bool:
    """Tell whether the table has just this record, or a later one of the same event."""
    return any(
        row.version == event.version and row.digest == event.digest and row.log_offset >= event.own
        for row in told
    )


def is_contested(event: Logged, told: Iterable[Told]) -> bool:
    """Tell whether the table has something of the request from the same place on; replays never mind."""
    return event.version == event.own and any(row.version >= event.own for row in told)


@dataclass
class Request:
    """All that is known of a contested request, in the order of the log."""

    logged: Sequence[Logged]
    told: Sequence[Told]
    first: int
    """The version of the first offset that the old log still has in its partition."""
    behind: int
    """The version of the first offset of the next generation."""

    def versions(self, left: Iterable[Logged]) -> Mapping[int, int]:
        """Return at which version each event that is `left` counts, by the version of its place."""
        says = {(one.version, one.digest) for one in self.logged}
        lost = [
            row.version
            for row in self.told
            if self.first <= row.version < self.behind and (row.version, row.digest) not in says
        ]
        kept = sorted(row.version for row in self.told if (row.version, row.digest) in says)
        found: dict[int, int] = {}
        least = max(lost, default=-1) + 1
        for event in left:
            if event.version != event.own:
                found[event.own] = event.version
                continue
            wanted = max(event.own, least)
            following = next((version for version in kept if version > event.own), self.behind)
            taken = {row.version for row in self.told}
            while wanted in taken and wanted < following:
                wanted += 1
            # Without room before its follower it counts as the newest: it is kept, if out of its order.
            found[event.own] = wanted if wanted < following else self.behind
            least = max(least, wanted + 1)
        return found
