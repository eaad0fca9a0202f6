"""What excuses an event that is not in its table."""

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.tables import DEAD_LETTERS, ERASED_REQUESTS
from services.reconciliation.core.events import Suspect
from services.reconciliation.core.missing_events import AT_ONCE, missing, quoted

ONE = Suspect("feedback-events", 3, 7, 7, "acme", "it's\\", 7, 0)


class Answers:
    """ClickHouse, with prepared answers: to who is stored, erased and refused."""

    def __init__(self, stored: Any = (), erased: Any = (), refused: Any = ()) -> None:
        self._answers = [list(stored), list(erased), list(refused)]
        self.asked: list[str] = []

    async def __call__(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows of the statement's kind."""
        self.asked.append(sql)
        return self._answers[1 if ERASED_REQUESTS in sql else 2 if DEAD_LETTERS in sql else 0]


@pytest.mark.parametrize(
    "answers",
    [
        Answers(stored=[("acme", "it's\\", 7, 7)]),
        Answers(stored=[("acme", "it's\\", 7, 12)]),
        Answers(erased=[("acme", "it's\\", 7, 0)]),
        Answers(erased=[("acme", "it's\\", 0, 1)]),
        Answers(refused=[("feedback-events", 3, 7)]),
    ],
    ids=["stored since", "replayed", "erased", "hidden", "refused"],
)
async def test_an_event_may_be_excused(answers: Answers) -> None:
    """It is stored, or nobody wants it, or it waits in the dead letters."""
    assert await missing(answers, [ONE]) == []


@pytest.mark.parametrize(
    "answers",
    [
        Answers(),
        Answers(stored=[("acme", "it's\\", 7, 6)]),
        Answers(stored=[("acme", "another", 7, 7)]),
        Answers(erased=[("acme", "it's\\", 6, 0)]),
        Answers(refused=[("feedback-events", 2, 7)]),
    ],
    ids=["nothing", "an older record", "another request", "erased before", "another record"],
)
async def test_what_is_like_an_excuse_is_none(answers: Answers) -> None:
    """An event is told from its neighbours."""
    assert await missing(answers, [ONE]) == [ONE]


async def test_many_are_asked_for_in_parts() -> None:
    """So that no statement grows without bound."""
    answers = Answers()
    many = [ONE._replace(offset=number) for number in range(AT_ONCE + 1)]

    assert await missing(answers, many) == many
    assert len(answers.asked) == 6


def test_a_literal_ends_where_it_should() -> None:
    """Whatever an id has in it."""
    assert quoted("a'b\\c") == "'a\\'b\\\\c'"
