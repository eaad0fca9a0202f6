"""What the judge makes of a Kafka that lost a log: each anomaly, planted in a small world, is named."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from chaos.judge import Kind, Verdict, Where
from chaos.judge.survivors import Survival
from chaos.judge.tables import StoredRow


def an_id(number: int) -> str:
    """Return the id of an event."""
    return str(UUID(int=number))


def a_line(number: int, request_id: str = "r1", outcome: str = "acknowledged", op: str = "merge") -> Any:
    """Return a line of a ledger: an event with a field of its own, and a number that counts up."""
    return {
        "tenant": "default",
        "request_id": request_id,
        "op": op,
        "data": None if op == "erase" else {f"m{number}": number, "latest": number},
        "request": {f"f{number}": number} if number == 1 else None,
        "outcome": outcome,
        "event_id": an_id(number) if outcome == "acknowledged" else None,
    }


def a_row(request_id: str, data: dict[str, Any], request: dict[str, Any] | None = None) -> StoredRow:
    """Return a row with what is seen of it."""
    return StoredRow("default", request_id, 1, 1, 0, 0, [], json.dumps(data), json.dumps(request or {}))


class Small:
    """Three acknowledged events of one request, one of another that is erased, and one of unknown outcome."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.lines = [a_line(1), a_line(2), a_line(3), a_line(4, "r2"), a_line(5, "r2", op="erase")]
        self.lines.append(a_line(6, "r1", "unknown"))
        self.data: dict[str, Any] = {"m1": 1, "m2": 2, "m3": 3, "latest": 3}
        self.rows = [a_row("r1", self.data, {"f1": 1})]
        self.events = [1, 2, 3]

    def show(self, **changes: Any) -> None:
        """Change what the row of the first request holds; None takes a field away."""
        shown = {name: value for name, value in {**self.data, **changes}.items() if value is not None}
        self.rows[0] = a_row("r1", shown, {"f1": 1})

    def verdict(self) -> Verdict:
        """Return what the judge finds."""
        survival = Survival()
        for number in self.taken:
            survival.taken({"event_id": an_id(number)})
        for line in self.lines:
            survival.ledger(line)
        for row in self.rows:
            survival.row(row)
        for number in self.events:
            survival.event(an_id(number))
        return survival.verdict()


def test_what_survived_whole_is_clean() -> None:
    """And the numbers are those of the ledgers."""
    verdict = Small().verdict()

    assert verdict.is_clean, verdict
    assert (verdict.acknowledged, verdict.unknown, verdict.rows, verdict.gone) == (5, 1, 1, ())


def _erased_is_back(small: Small) -> None:
    small.rows.append(a_row("r2", {"m4": 4, "latest": 4}))


AMISS: dict[str, tuple[Callable[[Small], Any], set[tuple[Kind, Where]]]] = {
    "a field is missing": (lambda small: small.show(m2=None), {(Kind.LOST, Where.ROW)}),
    "a row is missing": (lambda small: small.rows.clear(), {(Kind.LOST, Where.ROW)}),
    "an event is missing": (lambda small: small.events.remove(2), {(Kind.LOST, Where.EVENTS)}),
    "an older value won": (lambda small: small.show(latest=2), {(Kind.REGRESSED, Where.ROW)}),
    "a value of another event": (lambda small: small.show(m2=9), {(Kind.INVENTED, Where.ROW)}),
    "a field that was never sent": (lambda small: small.show(m9=9), {(Kind.INVENTED, Where.ROW)}),
    "a request that was never sent": (
        lambda small: small.rows.append(a_row("r9", {})),
        {(Kind.INVENTED, Where.ROW)},
    ),
    "a row twice": (lambda small: small.rows.append(small.rows[0]), {(Kind.DUPLICATED, Where.ROW)}),
    "what was erased is back": (_erased_is_back, {(Kind.WRONG, Where.ROW)}),
}


@pytest.mark.parametrize("name", AMISS)
def test_rows_are_held_to_the_ledgers(name: str) -> None:
    """What is amiss is named as what it is."""
    plant, found = AMISS[name]
    small = Small()
    plant(small)

    assert set(small.verdict().counts) == found


def test_an_event_that_went_with_a_log_is_counted_and_named() -> None:
    """It is the one thing that may be missing, with its field, its place in the order, and its event."""
    small = Small()
    small.taken, small.events = [3], [1, 2]
    small.show(m3=None, latest=2)

    verdict = small.verdict()

    assert verdict.is_clean, verdict
    assert verdict.gone == (an_id(3),)


def test_an_event_that_might_have_gone_with_a_log_may_have_survived() -> None:
    """It is not counted then."""
    small = Small()
    small.taken = [3]

    assert small.verdict().is_clean
    assert small.verdict().gone == ()


def test_an_event_that_survived_elsewhere_is_missed() -> None:
    """Though others went with the log."""
    small = Small()
    small.taken = [3]
    small.show(m2=None, m3=None, latest=1)

    assert set(small.verdict().counts) == {(Kind.LOST, Where.ROW), (Kind.REGRESSED, Where.ROW)}


def test_an_unknown_outcome_may_be_either() -> None:
    """Also where it came last of all."""
    small = Small()
    small.show(m6=6, latest=6)

    assert small.verdict().is_clean


def test_an_erasure_that_went_with_a_log_may_have_been_done_or_not() -> None:
    """Both are right."""
    done, undone = Small(), Small()
    done.taken = undone.taken = [5]
    _erased_is_back(undone)

    assert done.verdict().is_clean
    assert undone.verdict().is_clean
