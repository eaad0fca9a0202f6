"""When broken events are too many: a bad deploy must not drain the log into the dead letters.

Pure.  Offsets stand for events, since ingest leaves no holes in the log.  What a client can cause on
purpose, such as a conflict of Idempotency-Keys, does not count as broken.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from schemas.deadletters import Reason
from services.runtime.kafka.core.records import Record

WINDOW_EVENTS = 1_000
BROKEN = frozenset({Reason.MALFORMED_EVENT, Reason.INVALID_REPLAY, Reason.CRASHED})


class Refused(Protocol):
    """A record that was given up."""

    @property
    def record(self) -> Record: ...  # noqa: D102 (a dead letter's own words)
    @property
    def reason(self) -> Reason: ...  # noqa: D102


L = TypeVar("L", bound=Refused)


def counting(letters: Iterable[L]) -> Iterator[L]:
    """Yield those that count as broken: of a request whose row is damaged, one of each batch.

    A busy request holds up no other; rows that are all damaged, as for a release that is too old, do.
    """
    seen: set[bytes | None] = set()
    for letter in letters:
        if letter.reason is Reason.DAMAGED_STATE and letter.record.key not in seen:
            seen.add(letter.record.key)
            yield letter
        elif letter.reason in BROKEN:
            yield letter


def latest(broken: Iterable[int], more: Iterable[int]) -> tuple[list[int], int]:
    """Return the offsets that still matter, and the most that ever lay in one window.

    Both are ascending, and `more` comes after `broken`.
    """
    window: deque[int] = deque()
    most = 0
    for offset in (*broken, *more):
        window.append(offset)
        while window[0] <= offset - WINDOW_EVENTS:
            window.popleft()
        most = max(most, len(window))
    return list(window), most


def is_too_many(most: int, max_share: float) -> bool:
    """Tell whether so many broken events in one window are more than the share allows."""
    return most > max_share * WINDOW_EVENTS
