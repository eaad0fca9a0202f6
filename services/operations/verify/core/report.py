"""What was found, as it comes, in little room: counts, a few examples, and stretches of offsets.  Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.operations.verify.core.known import Finding
from services.reconciliation.core.ranges import Bits, Ranges
from services.reconciliation.core.remedies import RECOVERY, Kind, command

MOST_EXAMPLES = 5
_MOST_TENANTS = 2


@dataclass
class Difference:
    """All findings of a kind in one place."""

    kind: Kind
    topic: str
    partition: int
    count: int = 0
    stretches: Ranges = field(default_factory=Ranges)
    bits: Bits = field(default_factory=Bits)
    examples: list[Finding] = field(default_factory=list)
    tenants: set[str] = field(default_factory=set)
    mend: str = ""
    """The command that mends it; made up at the end unless it is given."""

    @property
    def offsets(self) -> Ranges:
        """Where they are."""
        return self.stretches or Ranges(self.bits.offsets())

    def add(self, finding: Finding) -> None:
        """Count one more; the same offset twice is once."""
        if finding.offset is not None and not self.bits.add(finding.offset):
            return
        self.count += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(finding)
        if len(self.tenants) < _MOST_TENANTS and finding.tenant:
            self.tenants.add(finding.tenant)


@dataclass
class Report:
    """Everything that a call found out.  `counts` has how much of what was compared."""

    differences: dict[tuple[Kind, str, int, str], Difference] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def add(self, findings: Iterable[Finding]) -> None:
        """Take findings in."""
        for one in findings:
            self._of(one.kind, one.topic, one.partition).add(one)

    def add_stretch(
        self, kind: Kind, topic: str, partition: int, stretch: tuple[int, int], detail: str
    ) -> None:
        """Take a stretch of offsets in that is one finding."""
        difference = self._of(kind, topic, partition)
        difference.stretches.add_stretch(*stretch)
        difference.count = len(difference.stretches)
        if len(difference.examples) < MOST_EXAMPLES:
            difference.examples.append(Finding(kind, b"", detail, topic, partition, stretch[0]))

    def add_told(self, kind: Kind, text: str, mend: str) -> None:
        """Take in what somebody else has judged, with its mending."""
        found = self.differences[kind, "", 0, text] = Difference(kind, "", 0, mend=mend)
        found.count = 1
        found.examples = [Finding(kind, b"", text)]

    def told(self) -> Iterator[tuple[Difference, str]]:
        """Yield each difference and the command that mends it."""
        by_kind: dict[Kind, set[str]] = {}
        for one in self.differences.values():
            by_kind.setdefault(one.kind, set()).update(one.tenants)
        is_cut = Kind.EVENT_INVENTED in by_kind or any(
            one.kind is Kind.POSITION and RECOVERY in one.mend for one in self.differences.values()
        )
        for one in self.differences.values():
            yield one, one.mend or command(one.kind, by_kind[one.kind], is_cut=is_cut)

    def _of(self, kind: Kind, topic: str, partition: int) -> Difference:
        place = (kind, topic, partition, "")
        return self.differences.setdefault(place, Difference(kind, topic, partition))
