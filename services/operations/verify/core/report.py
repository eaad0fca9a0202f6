"""What a verification found, in bounded memory: counts, examples and stretches of offsets; and its output."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.operations.dlq.core.view import plain
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import LogSnapshot
from services.reconciliation.core.ranges import Bits, Ranges
from services.reconciliation.core.remedies import RECOVERY, DiffKind, command

MOST_EXAMPLES = 5
_MOST_TENANTS = 2


class VerifyFinding(NamedTuple):
    """One difference.  `offset` is one of the log `topic`/`partition`, where it is about one."""

    kind: DiffKind
    key: bytes
    detail: str = ""
    topic: str = ""
    partition: int = 0
    offset: int | None = None

    @property
    def tenant(self) -> str:
        """The tenant of the key, as far as it has one."""
        return self.key.partition(b"/")[0].decode(errors="replace")


@dataclass
class Difference:
    """All findings of a kind in one partition."""

    kind: DiffKind
    topic: str
    partition: int
    count: int = 0
    stretches: Ranges = field(default_factory=Ranges)
    bits: Bits = field(default_factory=Bits)
    examples: list[VerifyFinding] = field(default_factory=list)
    tenants: set[str] = field(default_factory=set)
    mend: str = ""
    """The command that fixes it; derived at the end unless it is given."""

    @property
    def offsets(self) -> Ranges:
        """Where they are."""
        return self.stretches or Ranges(self.bits.offsets())

    def add(self, finding: VerifyFinding) -> None:
        """Count one more; the same offset twice is once."""
        if finding.offset is not None and not self.bits.add(finding.offset):
            return
        self.count += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(finding)
        if len(self.tenants) < _MOST_TENANTS and finding.tenant:
            self.tenants.add(finding.tenant)


@dataclass
class VerifyReport:
    """All differences, and in `counts` how much was compared."""

    differences: dict[tuple[DiffKind, str, int, str], Difference] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def add(self, findings: Iterable[VerifyFinding]) -> None:
        """Add findings."""
        for finding in findings:
            self._of(finding.kind, finding.topic, finding.partition).add(finding)

    def add_stretch(
        self, kind: DiffKind, topic: str, partition: int, stretch: tuple[int, int], detail: str
    ) -> None:
        """Add a range of offsets that is one finding."""
        difference = self._of(kind, topic, partition)
        difference.stretches.add_stretch(*stretch)
        difference.count = len(difference.stretches)
        if len(difference.examples) < MOST_EXAMPLES:
            difference.examples.append(VerifyFinding(kind, b"", detail, topic, partition, stretch[0]))

    def add_reported(self, kind: DiffKind, text: str, mend: str) -> None:
        """Add a problem that another check has found, with the command that fixes it."""
        found = self.differences[kind, "", 0, text] = Difference(kind, "", 0, mend=mend)
        found.count = 1
        found.examples = [VerifyFinding(kind, b"", text)]

    def with_commands(self) -> Iterator[tuple[Difference, str]]:
        """Yield each difference and the command that fixes it."""
        by_kind: dict[DiffKind, set[str]] = {}
        for difference in self.differences.values():
            by_kind.setdefault(difference.kind, set()).update(difference.tenants)
        is_cut = DiffKind.EVENT_INVENTED in by_kind or any(
            difference.kind is DiffKind.POSITION and RECOVERY in difference.mend
            for difference in self.differences.values()
        )
        for difference in self.differences.values():
            yield (
                difference,
                difference.mend or command(difference.kind, by_kind[difference.kind], is_cut=is_cut),
            )

    def _of(self, kind: DiffKind, topic: str, partition: int) -> Difference:
        place = (kind, topic, partition, "")
        return self.differences.setdefault(place, Difference(kind, topic, partition))


TEXTS = {
    DiffKind.EVENT_MISSING: "events of the log are not in feedback_events",
    DiffKind.EVENT_CHANGED: "events differ in feedback_events from the log",
    DiffKind.EVENT_INVENTED: "rows of feedback_events are not in the log: if Kafka lost them, these are the"
    " only copy, which a rebuild of the table would leave out",
    DiffKind.HOLE: "offsets of the log hold no record",
    DiffKind.NEVER_MERGED: "events are before the merger's position and were never merged",
    DiffKind.KEYS_VANISHED: "events of earlier generations are not in their states: older keys vanished",
    DiffKind.STATE_MISSING: "requests have no state, though the log has events of them",
    DiffKind.STATE_DIFFERS: "states differ from what their events come to",
    DiffKind.STATE_INVENTED: "states are of requests without events",
    DiffKind.ROW_MISSING: "states have no row in feedback_state",
    DiffKind.ROW_STALE: "rows of feedback_state are older than their state",
    DiffKind.ROW_CHANGED: "rows of feedback_state differ from their state",
    DiffKind.ROW_INVENTED: "rows of feedback_state have no state",
    DiffKind.ROW_DUPLICATED: "requests have several rows in feedback_state",
    DiffKind.ROW_REFUSED: "states were refused by ClickHouse and wait in the dead letters",
    DiffKind.LETTER_MISSING: "dead letters are not in their table",
    DiffKind.LETTER_CHANGED: "dead letters differ in their table",
    DiffKind.LETTER_INVENTED: "rows of dead_letters are not in their topic",
    DiffKind.POSITION: "",
    DiffKind.TOPIC_SETTING: "",
}


def lines(report: VerifyReport, snapshot: LogSnapshot, selection: VerifySelection) -> Iterator[str]:
    """Yield the report as text, line by line."""
    yield _compared(report, selection)
    yield from _waiting(snapshot)
    if report.counts["unproven"]:
        yield (
            f"{report.counts['unproven']:,} requests have events that neither the log nor feedback_events"
            " keeps; what is kept of them is in their states."
        )
    for difference, mend in report.with_commands():
        yield ""
        yield from _difference_lines(difference, mend)
    if report.is_clean:
        yield "No differences."


def _compared(report: VerifyReport, selection: VerifySelection) -> str:
    counts = report.counts
    share = "" if selection.share >= 1 else f" (a sample, {selection.share:.2%}, seed {selection.seed!r})"
    return (
        f"{counts['events_checked']:,} events and {counts['dead_letters']:,} dead letters checked;"
        f" {counts['keys']:,} requests compared{share}"
    )


_WAITING = {
    "merger": "events wait for the merger",
    "sink-state": "states wait for the sink",
    "sink-events": "events wait for the sink",
    "sink-dlq": "dead letters wait for the sink",
}


def _waiting(snapshot: LogSnapshot) -> Iterator[str]:
    groups = {stage.name: stage.group for stage in snapshot.current.stages}
    for stage, count in snapshot.on_its_way().items():
        if count:
            note = (
                "" if snapshot.members.get(groups[stage]) else "; no consumer reads them now: is it running?"
            )
            yield f"On their way, and not compared: up to {count:,} {_WAITING[stage]}{note}"


def _difference_lines(difference: Difference, mend: str) -> Iterator[str]:
    text = TEXTS[difference.kind]
    if not text:
        yield f"{difference.kind}: {difference.examples[0].detail}"
    else:
        place = f" {difference.topic}/{difference.partition}:" if difference.topic else ""
        yield f"{difference.kind}:{place} {difference.count:,} {text}"
        if offsets := difference.offsets:
            yield f"  offsets {offsets.as_text()}"
        for example in difference.examples:
            if example.key:
                detail = f"  {example.detail}" if example.detail else ""
                yield f"  {plain(example.key.decode(errors='replace'))}{detail}"
    yield f"  To mend it: {mend}"


def as_json(report: VerifyReport, snapshot: LogSnapshot, selection: VerifySelection) -> dict[str, Any]:
    """Return the report for scripts."""
    return {
        "same": report.is_clean,
        "sample": {"share": selection.share, "seed": selection.seed},
        "compared": {
            name: report.counts[name]
            for name in ("events", "events_checked", "dead_letters", "keys", "unproven")
        },
        "on_its_way": snapshot.on_its_way(),
        "positions": [*_positions(snapshot)],
        "differences": [
            {
                "kind": one.kind.value,
                "topic": one.topic,
                "partition": one.partition if one.topic else None,
                "count": one.count,
                "offsets": [list(stretch) for stretch in one.offsets][:100],
                "examples": [
                    {
                        "key": found.key.decode(errors="replace"),
                        "offset": found.offset,
                        "detail": found.detail,
                    }
                    for found in one.examples
                ],
                "mend": mend,
            }
            for one, mend in report.with_commands()
        ],
    }


def _positions(snapshot: LogSnapshot) -> Iterator[dict[str, Any]]:
    for (topic, partition), log in sorted(snapshot.logs.items()):
        place = (topic, partition)
        yield {
            "topic": topic,
            "partition": partition,
            "start": log.start,
            "end": log.end,
            "merged": snapshot.merged.get(place),
            "stored": snapshot.stored.get(place),
        }
