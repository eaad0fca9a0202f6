"""Ids, times and states as people type them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.cli.dlq import StateChoice, selection
from services.operations.dlq.core.dead_letter import DeadLetterId, DeadLetterState, parse_id
from services.operations.dlq.core.statements import moment
from services.operations.dlq.replay import BATCH_BYTES, BATCH_LETTERS, batches
from services.operations.exits import UsageError
from tests.support.operations.command import afterword
from tests.support.operations.dead_letters import a_letter

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOTHING: dict[str, Any] = {
    "ids": None, "reasons": None, "stages": None, "tenant": None, "request_id": None, "since": None,
    "until": None, "state": None,
}  # fmt: skip


def test_an_id_is_what_a_list_shows() -> None:
    """There and back."""
    one = DeadLetterId("feedback-events-dlq-v2", 0, 17)

    assert parse_id(str(one)) == one


@pytest.mark.parametrize(
    "text", ["", "17", "a/b/c", "a/1", "a/1/2/3", "a/-1/2", "a/1/٣", "a b/1/2", "a/1/2\n"]
)
def test_an_invalid_id_is_reported(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(ValueError, match="<topic>/<partition>/<offset>"):
        parse_id(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7 d", NOW - timedelta(days=7)),
        ("1w", NOW - timedelta(weeks=1)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T08:00:00+02:00", datetime(2026, 11, 22, 6, tzinfo=UTC)),
    ],
)
def test_times_are_durations_or_dates(text: str, expected: datetime) -> None:
    """In UTC where nothing is said."""
    assert moment(text, NOW) == expected


def test_open_ones_are_meant_unless_they_are_named() -> None:
    """An id means that one, whatever became of it."""
    assert selection(**NOTHING).states == (DeadLetterState.OPEN,)
    assert selection(**{**NOTHING, "ids": ["a/0/1"]}).states == ()
    assert selection(**{**NOTHING, "ids": ["a/0/1"], "state": StateChoice.OPEN}).states == (
        DeadLetterState.OPEN,
    )
    assert selection(**{**NOTHING, "state": StateChoice.ALL}).states == ()
    assert not selection(**{**NOTHING, "state": StateChoice.ALL}).is_narrow
    assert selection(**{**NOTHING, "tenant": "acme"}).is_narrow


@pytest.mark.parametrize("wrong", [{"ids": ["17"]}, {"since": "soon"}, {"until": "32h-"}])
def test_a_wrong_option_is_a_usage_error(wrong: dict[str, Any]) -> None:
    """Exit code 2."""
    with pytest.raises(UsageError):
        selection(**{**NOTHING, **wrong})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["drop"], "select dead letters by"),
        (["drop", "--undo"], "select dead letters by"),
        (["replay", "--body", __file__], "--body is for one dead letter"),
        (["replay", "a/0/1", "a/0/2", "--body", __file__], "--body is for one dead letter"),
        (["show", "17"], "<topic>/<partition>/<offset>"),
        (["list", "--reason", "because"], "because"),
        (["list", "--since", "soon"], "is not a time"),
    ],
)
def test_a_call_with_too_few_options_is_refused(arguments: list[str], said: str) -> None:
    """Before any server is asked."""
    ended = afterword("dlq", *arguments)

    assert ended.code == 2
    assert said in ended.err


def test_a_server_that_is_away_is_named() -> None:
    """With the exit code that scripts wait on."""
    ended = afterword("dlq", "list", environ={"CLICKHOUSE_URL": "http://127.0.0.1:1"})

    assert ended.code == 75
    assert "ClickHouse at http://127.0.0.1:1 does not answer" in ended.err


def test_parts_are_small_and_nothing_is_omitted() -> None:
    """Neither too many nor too large together; one that is larger goes alone."""
    sizes = [10, BATCH_BYTES + 1, BATCH_BYTES // 2, BATCH_BYTES // 2, 1, None, *([1] * 2 * BATCH_LETTERS)]
    letters = [a_letter(number, size=size) for number, size in enumerate(sizes)]
    cut = list(batches(letters))

    assert [one for part in cut for one in part] == letters
    assert all(len(part) <= BATCH_LETTERS for part in cut)
    assert all(len(part) == 1 or sum(one.size or 0 for one in part) <= BATCH_BYTES for part in cut)
    assert [len(part) for part in cut[:3]] == [1, 1, 2]
