"""What an erase takes with it.  Pure: the rule that the statements say in SQL, and tests compare them with.

A row goes with an erase of its own request when its place in the order is not behind the erase.  The erase
events themselves stay: they hold a request id and a time, and are what keeps the rest away.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ErasedRequest:
    """Up to where a request is erased: a version, and when that event was appended; None if nobody knows."""

    version: int
    appended_at: datetime | None


@dataclass(frozen=True)
class CoveredLetter:
    """What counts of a dead letter.  `version`: its place in the order of events, None where unknown."""

    version: int | None
    failed_at: datetime


def takes_event(erased: ErasedRequest, op: str, version: int) -> bool:
    """Return whether an event's row goes."""
    return op != "erase" and version <= erased.version


def takes_letter(erased: ErasedRequest, letter: CoveredLetter) -> bool:
    """Return whether a dead letter goes; one whose place is unknown does if it failed before the erase."""
    if letter.version is not None:
        return letter.version <= erased.version
    return erased.appended_at is not None and letter.failed_at <= erased.appended_at


def takes_state(newest_revision: int, revision: int) -> bool:
    """Return whether a version of the row goes: of an erased request, only the newest one stays."""
    return revision < newest_revision
