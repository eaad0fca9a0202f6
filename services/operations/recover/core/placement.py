"""At which version an event of the old log counts that ClickHouse does not have.

Carried over as a replay of its own place it counts where it always did, whatever was merged since.  But a log
that was cut short gave offsets out twice: what was acknowledged after the cut has the place of an event that
only ClickHouse or a state still has.  It came later than that one, so it counts behind it, and before what
followed it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class StoredEvent(NamedTuple):
    """A row of `feedback_events`: its version, the offset of its record, and its checksum."""

    version: int
    log_offset: int
    partition: int
    digest: int


class LoggedEvent(NamedTuple):
    """An event as the old log has it: `own` is the version of its place, at `version` it counts."""

    own: int
    version: int
    partition: int
    digest: int


def is_stored(event: LoggedEvent, stored: Iterable[StoredEvent]) -> bool:
    """Return whether the table has just this record, or a later one of the same event."""
    return any(
        row.version == event.version and row.digest == event.digest and row.log_offset >= event.own
        for row in stored
    )


def is_contested(event: LoggedEvent, stored: Iterable[StoredEvent], merged: Iterable[int]) -> bool:
    """Return whether an event of the request is known at the same offset or later; False for replays.

    `stored` are rows of the table of events, `merged` the versions that its states and its row depend on.
    """
    known = (*(row.version for row in stored), *merged)
    return event.version == event.own and any(version >= event.own for version in known)


@dataclass
class ContestedRequest:
    """All that is known of a contested request, in the order of the log."""

    logged: Sequence[LoggedEvent]
    stored: Sequence[StoredEvent]
    merged: Collection[int]
    """The versions that its states and its row depend on."""
    first: int
    """The version of the first offset that the old log still has in its partition."""
    behind: int
    """The version of the first offset of the next generation."""

    def versions(self, left: Iterable[LoggedEvent]) -> Mapping[int, int]:
        """Return at which version each event that is `left` counts, by the version of its place."""
        digests = {(one.version, one.digest) for one in self.logged}
        lost = [
            row.version
            for row in self.stored
            if self.first <= row.version < self.behind and (row.version, row.digest) not in digests
        ]
        # A version in a state that no event has is of one that was merged, never stored, and cut off.
        recorded = {row.version for row in self.stored} | {one.version for one in self.logged}
        lost += [
            version
            for version in self.merged
            if self.first <= version < self.behind and version not in recorded
        ]
        kept = sorted(row.version for row in self.stored if (row.version, row.digest) in digests)
        found: dict[int, int] = {}
        least = max(lost, default=-1) + 1
        for event in left:
            if event.version != event.own:
                found[event.own] = event.version
                continue
            wanted = max(event.own, least)
            following = next((version for version in kept if version > event.own), self.behind)
            taken = {row.version for row in self.stored}
            while wanted in taken and wanted < following:
                wanted += 1
            # Without room before its follower it counts as the newest: it is kept, if out of its order.
            found[event.own] = wanted if wanted < following else self.behind
            least = max(least, wanted + 1)
        return found
