"""A run as JSON: what it was asked for, where it ran, each fault, and what came of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos import ledger
from chaos.campaign import Outcome, Struck
from chaos.judge import Finding, Kind
from tests.support.machine import commit, machine

_KINDS = {Kind.REGRESSED: "wrong"}


@dataclass(frozen=True)
class Sent:
    """When an event was sent, of which request, and whether it was acknowledged."""

    at: datetime
    key: str
    is_acknowledged: bool


def record(
    outcome: Outcome, *, seed: int, command: str, began_at: str, ledgers: Iterable[Path]
) -> dict[str, Any]:
    """Return the run."""
    if outcome.verdict is None:
        raise ValueError("the run was not judged")
    verdict = outcome.verdict
    sent = [_sent(line) for directory in ledgers for line in ledger.read(directory)]
    numbers = ("acknowledged", "unknown", "events", "rows", "dead_letters")
    failings = ("lost", "wrong", "duplicated", "invented")
    return {
        "seed": seed,
        "command": command,
        "commit": commit(),
        "began_at": began_at,
        "seconds": round(outcome.seconds, 1),
        "machine": machine(),
        "sums": outcome.sums,
        "verdict": {name: getattr(verdict, name) for name in (*numbers, *failings)}
        | {"gone": len(verdict.gone)},
        "gone": list(verdict.gone),
        "findings": [list(finding) for finding in verdict.findings],
        "notes": list(verdict.notes),
        "faults": faults(outcome.struck, sent, verdict.findings),
    }


def faults(
    struck: Sequence[Struck], sent: Sequence[Sent], findings: Sequence[Finding]
) -> list[dict[str, Any]]:
    """Return the faults, each with what was acknowledged, and went wrong, until it was recovered from."""
    times: Mapping[str, list[datetime]] = _times(sent)
    return [
        {
            "number": one.number,
            "wave": one.wave,
            "fault": one.fault.fault,
            "target": one.fault.target,
            "seed": one.fault.seed,
            "at": one.at,
            "seconds": one.over,
            "first": cleared(one, one.first, struck),
            "everywhere": cleared(one, one.everywhere, struck),
            "acknowledged": sum(event.is_acknowledged and _within(one, event.at) for event in sent),
            "failings": Counter(
                _KINDS.get(found.kind, str(found.kind))
                for found in findings
                if any(_within(one, at) for at in times.get(found.key, ()))
            ),
            "detail": one.detail,
        }
        for one in struck
    ]


def cleared(one: Struck, seconds: float, struck: Sequence[Struck]) -> float:
    """Return the seconds of a recovery, less those in which other faults were not over yet."""
    over = one.at + one.over
    recovered = over + seconds
    others = [other.at + other.over for other in struck if other.at < recovered]
    return round(recovered - max([over, *(end for end in others if end <= recovered)]), 2)


def _times(sent: Sequence[Sent]) -> Mapping[str, list[datetime]]:
    found: dict[str, list[datetime]] = defaultdict(list)
    for event in sent:
        found[event.key].append(event.at)
    return found


def _within(one: Struck, at: datetime) -> bool:
    return one.recovered is not None and one.began <= at <= one.recovered


def _sent(line: Mapping[str, Any]) -> Sent:
    key = f"{line['tenant']}/{line['request_id']}"
    return Sent(datetime.fromisoformat(line["sent_at"]), key, line["outcome"] == ledger.ACKNOWLEDGED)
