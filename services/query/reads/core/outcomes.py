"""What became of an event, told from what is stored.  Pure.

The same rules by which the merger admits events, applied to the stored history of one request:

- an event at or below an erase that came before it in the log is ignored;
- an event whose id is among those of the 8 newest merged idempotent events is a repeat, and ignored;
- an event with a dead letter of its own was given up;
- every other event was merged.

The stored events decide only once all stages have passed the event: see `barrier`.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from schemas.deadletters import Stage
from schemas.events import Op
from schemas.identity import split_version
from schemas.limits import RECENT_EVENTS

NEVER = -1


class Outcome(StrEnum):
    """What became of an event."""

    MERGED = "merged"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead_lettered"
    PENDING = "pending"


class Logged(NamedTuple):
    """A stored event.  `version` is where it counts, `place` where its record stands; both are versions.

    They differ for a replayed event, whose record stands further on.
    """

    version: int
    place: int
    event_id: str
    op: str
    idempotent: bool


class Letter(NamedTuple):
    """A dead letter of the request.  `place` is the version of the record that was given up.

    `version` is where it counts: an event's version; for a row that ClickHouse refused, the row's version.
    """

    stage: str
    reason: str
    detail: str
    place: int
    version: int
    is_row: bool
    failed_at: str
    replayed_at: str | None


class Became(NamedTuple):
    """An outcome, and why: a dead letter's reason, or in words.  `letter` is the dead letter, if any."""

    outcome: Outcome
    reason: str = ""
    detail: str = ""
    letter: Letter | None = None


MERGED = Became(Outcome.MERGED)
REPEAT = Became(
    Outcome.IGNORED,
    "repeat",
    "an event with this Idempotency-Key was merged before; the repeat changed nothing",
)
ERASED = Became(
    Outcome.IGNORED, "erased", "the request was erased at a later version; the event changed nothing"
)
NO_EVENT = Became(
    Outcome.MERGED,
    "no_event",
    "no event of this request has this version; everything of the request below it is merged",
)


def given_up(letter: Letter) -> Became:
    """Return the outcome of an event that has a dead letter."""
    again = f"; it was replayed at {letter.replayed_at}" if letter.replayed_at else ""
    return Became(Outcome.DEAD_LETTERED, letter.reason, f"{letter.detail}{again}", letter)


def pending(why: str) -> Became:
    """Return the outcome of an event of which too little is known yet."""
    return Became(Outcome.PENDING, "", why)


def outcomes(
    events: Iterable[Logged], letters: Iterable[Letter], consumed: int | None = None
) -> dict[int, Became]:
    """Return what became of each event of a request, by its version.

    `consumed` is the version before which the merger has read every record; None: all that there are.
    A new generation of the topics begins with empty rows, so it remembers nothing of the one before.
    """
    refused = {letter.place: letter for letter in letters if letter.stage == Stage.MERGER}
    in_log_order = sorted(events, key=lambda event: event.place)
    found: dict[int, Became] = {}
    for _, generation in groupby(in_log_order, key=lambda event: split_version(event.place)[0]):
        row = _Row()
        for event in generation:
            if consumed is not None and event.place >= consumed:
                found[event.version] = _not_yet(event, refused)
            elif letter := refused.get(event.place):
                found[event.version] = given_up(letter)
            else:
                found[event.version] = row.admit(event)
    return found


def _not_yet(event: Logged, refused: Mapping[int, Letter]) -> Became:
    """Return what is known of an event that the merger has not read: a replay was given up before."""
    first = refused.get(event.version)
    return given_up(first) if first else pending("the merger has not come to it yet")


class _Row:
    """What the merger remembers of a request to tell repeats, and what was erased."""

    def __init__(self) -> None:
        self._erased = NEVER
        self._recent: list[tuple[int, str]] = []

    def admit(self, event: Logged) -> Became:
        if event.version <= self._erased:
            return ERASED
        if any(event.event_id == known for _, known in self._recent):
            return REPEAT
        if event.op == Op.ERASE:
            self._erased = event.version
            self._recent = [known for known in self._recent if known[0] > event.version]
        elif event.idempotent:
            insort(self._recent, (event.version, event.event_id))
            del self._recent[:-RECENT_EVENTS]
        return MERGED


def outcome_of(
    version: int,
    events: Sequence[Logged],
    letters: Sequence[Letter],
    *,
    row_version: int | None,
    consumed: int | None = None,
) -> Became:
    """Return what became of the event with a version, once all stages have passed it.

    `row_version` is that of the stored row, None where there is none.
    """
    became = outcomes(events, letters, consumed).get(version)
    if became is None:
        own = [letter for letter in letters if letter.stage == Stage.MERGER and letter.version == version]
        became = given_up(max(own, key=lambda letter: letter.place)) if own else NO_EVENT
    if became.outcome is not Outcome.MERGED or (row_version is not None and row_version >= version):
        return became
    rows = [letter for letter in letters if letter.is_row and letter.version >= version]
    return given_up(max(rows, key=lambda letter: letter.place)) if rows else became


def surely_given_up(
    version: int, events: Sequence[Logged], letters: Sequence[Letter], consumed: int | None = None
) -> Became | None:
    """Return the outcome of an event whose dead letter is stored already, whatever else is not; or None."""
    if not any(letter.stage == Stage.MERGER and letter.version == version for letter in letters):
        return None
    became = outcome_of(version, events, letters, row_version=None, consumed=consumed)
    return became if became.outcome is Outcome.DEAD_LETTERED else None
