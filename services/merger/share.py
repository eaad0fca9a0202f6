"""When broken events are too many: a bad deploy must not drain the log into the dead letters.

Pure.  Offsets stand for events, since ingest leaves no holes in the log.  What a client can cause on
purpose, such as a conflict of Idempotency-Keys, does not count as broken.
"""

from collections import deque
from collections.abc import Iterable

from schemas.deadletters import Reason

WINDOW_EVENTS = 1_000
BROKEN = frozenset({Reason.MALFORMED_EVENT, Reason.INVALID_REPLAY, Reason.CRASHED})


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
