"""A run becomes JSON, and JSON a page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos.campaign import Struck
from chaos.faults import Fault, pairs
from chaos.judge import Finding, Kind, Where
from chaos.record import Sent, cleared, faults
from chaos.report import page, title

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
LOST = Finding(Kind.LOST, Where.ROW, "default/r1", "no row")


def a_fault(number: int, seconds: int, fault: str = "kill", target: str = "merger") -> Struck:
    """Return a fault that struck after so many seconds and had been recovered from after another ten."""
    began = AT + timedelta(seconds=seconds)
    return Struck(
        number=number,
        wave=1,
        fault=Fault(fault, target, 7, 0.0),
        at=seconds,
        began=began,
        ended=began,
        first=1.0 + number,
        everywhere=4.0 + number,
        recovered=began + timedelta(seconds=10),
    )


def a_run(**changes: Any) -> dict[str, Any]:
    """Return a run of three faults."""
    sent = [Sent(AT + timedelta(seconds=second), f"default/r{second}", second != 3) for second in range(30)]
    struck = [a_fault(1, 0), a_fault(2, 5), a_fault(3, 20, "damage", "flip")]
    return {
        "seed": 7,
        "command": "make chaos SEED=7 FAULTS=3",
        "commit": "abc",
        "began_at": "2026-11-22T08:00:00+00:00",
        "seconds": 90.0,
        "machine": {
            "cores": 2,
            "processor": "a processor",
            "memory_gb": 8,
            "system": "Linux",
            "python": "3.11",
        },
        "sums": {"sent": 30, "acknowledged": 29, "unknown": 1, "refused": 0},
        "verdict": {
            "acknowledged": 29,
            "unknown": 1,
            "events": 29,
            "rows": 30,
            "dead_letters": 0,
            "lost": 1,
            "wrong": 0,
            "duplicated": 0,
            "invented": 0,
        },
        "faults": faults(struck, sent, [LOST]),
        **changes,
    }


def test_an_event_counts_for_the_faults_that_it_was_sent_under() -> None:
    """And so does what is wrong with it."""
    first, second, third = a_run()["faults"]

    assert (first["acknowledged"], second["acknowledged"], third["acknowledged"]) == (10, 11, 10)
    assert (first["failings"], second["failings"], third["failings"]) == ({"lost": 1}, {}, {})


def test_the_page_has_a_row_for_each_kind_with_its_times() -> None:
    """The median and the worst of them."""
    text = page(a_run())

    assert "| `kill -9` of the merger | 2 | 21 | 1 | 0 | 0 | 0 | 2.5 s | 3.0 s | 6.0 s |" in text
    assert "one bit of a table turned over | 1 | 10 | 0 | 0 | 0 | 0 | 4.0 s | 4.0 s | 7.0 s |" in text
    assert "| **Lost** | 1 |" in text
    assert "`make chaos SEED=7 FAULTS=3`" in text
    assert "{" not in text


def test_a_recovery_goes_from_the_end_of_the_last_fault_that_delayed_it() -> None:
    """And not from its own end, if ClickHouse, say, was still down."""
    down = replace(a_fault(1, 0, "down", "warehouse"), over=100.0, first=7.0)
    killed = replace(a_fault(2, 60), first=48.0)
    later = replace(a_fault(3, 200), first=3.0)

    struck = [down, killed, later]
    assert [cleared(one, one.first, struck) for one in struck] == [7.0, 8.0, 3.0]


def test_every_kind_has_a_title_of_its_own() -> None:
    """The rows of the table can be distinguished."""
    titles = [title(kind.name, target) for kind, target in pairs()]

    assert len(set(titles)) == len(titles)
