"""What the judge found: counts that are complete, and findings with as many examples as are of use.

Pure.  A finding says what is amiss, where, of which request, and the detail in words:

    Finding(Kind.LOST, Where.ROW, "acme/r1", "no row; the log makes it version 41")
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

EXAMPLES = 20
"""Findings that are kept of each kind at each place; the counts continue."""


class Kind(StrEnum):
    """What is amiss."""

    LOST = "lost"
    """Something is missing, or is at an earlier version than it must be."""
    WRONG = "wrong"
    """Something is there with another content or at another place than it must."""
    REGRESSED = "regressed"
    """Something went back to an earlier version, if only for a while."""
    DUPLICATED = "duplicated"
    """Something is there more often than it may be."""
    INVENTED = "invented"
    """Something is stored that was never sent, or that was refused."""


class Where(StrEnum):
    """The place that was looked at."""

    LOG = "feedback-events"
    STATE = "feedback-state"
    STORE = "merger's store"
    ROW = "feedback_state"
    VIEW = "feedback"
    EVENTS = "feedback_events"
    LETTERS_TOPIC = "dead-letter topics"
    LETTERS = "dead_letters"


class Finding(NamedTuple):
    """One thing that is amiss.  `key` is `<tenant>/<request_id>`, or a place in a topic."""

    kind: Kind
    where: Where
    key: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The whole judgement.  Of obligations and of findings alike, the numbers count all of them."""

    acknowledged: int
    """Events that ingest acknowledged, each of them an obligation."""
    unknown: int
    """Events whose outcome the writers never learned: they may or may not be there."""
    events: int
    """Records of the events topic."""
    rows: int
    """Requests that have a row, erased ones included."""
    dead_letters: int
    """Dead letters that belong there."""
    counts: Counter[tuple[Kind, Where]]
    findings: Sequence[Finding]
    notes: Sequence[str]
    """Notes that are no faults, such as damaged copies."""
    gone: Sequence[str] = ()
    """Ids of acknowledged events that existed only in a log which a fault took away from Kafka."""

    @property
    def lost(self) -> int:
        """How often something is lost."""
        return self._count(Kind.LOST)

    @property
    def wrong(self) -> int:
        """How often something is wrong, or went back."""
        return self._count(Kind.WRONG, Kind.REGRESSED)

    @property
    def duplicated(self) -> int:
        """How often something is there too often."""
        return self._count(Kind.DUPLICATED)

    @property
    def invented(self) -> int:
        """How often something is stored that was never sent."""
        return self._count(Kind.INVENTED)

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is amiss."""
        return not self.counts

    @classmethod
    def sum(cls, verdicts: Sequence[Self]) -> Self:
        """Return the joint judgement of stacks."""
        return cls(
            acknowledged=sum(verdict.acknowledged for verdict in verdicts),
            unknown=sum(verdict.unknown for verdict in verdicts),
            events=sum(verdict.events for verdict in verdicts),
            rows=sum(verdict.rows for verdict in verdicts),
            dead_letters=sum(verdict.dead_letters for verdict in verdicts),
            counts=sum((verdict.counts for verdict in verdicts), Counter()),
            findings=[finding for verdict in verdicts for finding in verdict.findings],
            notes=[note for verdict in verdicts for note in verdict.notes],
            gone=[event for verdict in verdicts for event in verdict.gone],
        )

    def _count(self, *kinds: Kind) -> int:
        return sum(count for (kind, _), count in self.counts.items() if kind in kinds)

    def __str__(self) -> str:
        """The verdict as text: a line of numbers, and a line for each finding."""
        head = (
            f"{self.acknowledged:,} acknowledged, {self.unknown:,} unknown, {self.events:,} in the log,"
            f" {self.rows:,} rows, {self.dead_letters:,} dead letters: {self.lost:,} lost,"
            f" {self.wrong:,} wrong, {self.duplicated:,} duplicated, {self.invented:,} invented"
            + (f"; {len(self.gone):,} went with Kafka's log" if self.gone else "")
        )
        return "\n".join(
            [head, *(f"  {kind} in {where}: {key}: {text}" for kind, where, key, text in self.findings)]
        )


@dataclass
class Findings:
    """Collects what is amiss."""

    counts: Counter[tuple[Kind, Where]] = field(default_factory=Counter)
    examples: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: Kind, where: Where, key: bytes | str, detail: str) -> None:
        """Count a finding, and keep it if there are few of its kind at its place."""
        self.counts[kind, where] += 1
        if self.counts[kind, where] <= EXAMPLES:
            text = key.decode(errors="backslashreplace") if isinstance(key, bytes) else key
            self.examples.append(Finding(kind, where, text, detail))
