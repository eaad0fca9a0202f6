"""Reading one request, decided: what a wait is, what an id is, what became of an event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deadletters import Reason
from schemas.identity import is_request_id
from services.query.api.params import request_id_of
from services.query.core.problems import QueryProblem
from services.query.dashboard.dead_letters import TITLES
from services.query.reads.core.dead_letters import ADVICE, UNKNOWN, advice
from services.query.reads.core.history import (
    EventOutcome,
    HistoryEvent,
    KeyedEvent,
    changes,
    generation_of,
    known_dead_lettered,
    letter_of,
    outcome_of,
    outcomes,
)
from services.query.waiting import parse_version, parse_wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2.0), ("500ms", 0.5), ("0s", 0.0), ("1.5s", 1.5), ("30s", 30.0), ("0.5ms", 0.0005)],
)
def test_a_wait_has_its_unit(text: str, seconds: float) -> None:
    """Seconds or milliseconds."""
    assert parse_wait(text, 30) == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "s", "2 s", "-1s", "1e1s", "٣s", "infs", "1m", "2S", "30.001s", "30001ms"]
)
def test_any_other_wait_is_refused(text: str) -> None:
    """Also one that is longer than may be waited."""
    with pytest.raises(QueryProblem):
        parse_wait(text, 30)


@given(st.integers(0, 2**64 - 1))
def test_every_version_is_read_back(version: int) -> None:
    """As an acknowledgement has it: a decimal text."""
    assert parse_version(str(version)) == version


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "0x1", "1_0", "٣", str(2**64), "1" * 30])
def test_any_other_version_is_refused(text: str) -> None:
    """None of these was ever acknowledged."""
    with pytest.raises(QueryProblem):
        parse_version(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_every_id_is_read_from_its_path(text: str) -> None:
    """Percent-encoded byte by byte, or sent as it is; what can be no id is refused."""
    encoded = "".join(f"%{byte:02x}" for byte in text.encode())
    raw = text.replace("%", "%25").encode().decode("latin-1")

    for segment in (encoded, raw):
        if is_request_id(text):
            assert request_id_of(segment) == text
        else:
            with pytest.raises(QueryProblem):
                request_id_of(segment)


def test_bytes_that_are_no_text_are_no_id() -> None:
    """They are not replaced by anything: that would be another request."""
    for segment in ("%FF", "a%C3", "\xff"):
        with pytest.raises(QueryProblem, match="UTF-8"):
            request_id_of(segment)


def idempotent(version: int, number: int) -> HistoryEvent:
    """Return an idempotent event."""
    return HistoryEvent(version, version, f"id-{number}", "merge", idempotent=True)


def test_a_repeat_is_one_of_the_eight_newest() -> None:
    """The ninth forgets the first; what has no Idempotency-Key is not remembered at all."""
    ten = [idempotent(number, number) for number in range(10)]
    plain = [
        HistoryEvent(20, 20, "plain", "merge", idempotent=False),
        HistoryEvent(21, 21, "plain", "merge", idempotent=False),
    ]

    found = outcomes([*ten, idempotent(10, 2), idempotent(11, 1), *plain], [])

    assert found[10].outcome is EventOutcome.IGNORED
    assert found[11].outcome is EventOutcome.MERGED
    assert [found[20].outcome, found[21].outcome] == [EventOutcome.MERGED, EventOutcome.MERGED]


def a_letter_row(**changes: object) -> dict[str, object]:
    """Return a stored dead letter of the event with version 5."""
    return {
        "stage": "merger",
        "reason": "crashed",
        "detail": "it crashed",
        "original_topic": "feedback-events",
        "original_offset": 5,
        "original_version": 5,
        "failed_at": "2026-11-22T08:00:00Z",
        "replayed_at": None,
        "row_version": 0,
    } | changes


def test_a_refused_row_is_reported_only_while_no_newer_one_is_stored() -> None:
    """A row that came later has everything that the refused one had."""
    event = HistoryEvent(5, 5, "a", "merge", idempotent=False)
    refused = letter_of(
        a_letter_row(
            stage="sink", reason="refused_by_clickhouse", original_topic="feedback-state", row_version=6
        )
    )

    lost = outcome_of(5, [event], [refused], row_version=4)
    stored = outcome_of(5, [event], [refused], row_version=7)

    assert (lost.outcome, lost.reason) == (EventOutcome.DEAD_LETTERED, "refused_by_clickhouse")
    assert stored.outcome is EventOutcome.MERGED


def test_a_dead_letter_of_the_sink_shows_nothing_of_the_merge() -> None:
    """An event that ClickHouse refused for its history was merged all the same."""
    refused = letter_of(a_letter_row(stage="sink", reason="refused_by_clickhouse"))

    assert outcome_of(5, [], [refused], row_version=5).outcome is EventOutcome.MERGED
    assert known_dead_lettered(5, [], [refused]) is None


def test_a_replayed_dead_letter_reports_it_until_the_replay_is_merged() -> None:
    """Then what became of the replay counts."""
    first = letter_of(a_letter_row(replayed_at="2026-11-22T09:00:00Z"))
    replay = HistoryEvent(5, 9, "a", "merge", idempotent=False)

    before = known_dead_lettered(5, [replay], [first], consumed=9)
    after = known_dead_lettered(5, [replay], [first], consumed=10)

    assert before is not None
    assert "replayed at 2026-11-22T09:00:00Z" in before.detail
    assert after is None
    assert outcome_of(5, [replay], [first], row_version=8, consumed=10).outcome is EventOutcome.MERGED


def test_generations_are_read_from_names_of_topics() -> None:
    """The first has none."""
    names = ["feedback-events", "feedback-events-v2", "feedback-state-v17", "", "x-vx"]

    assert [generation_of(name) for name in names] == [0, 2, 17, 0, 0]


def test_every_reason_is_explained() -> None:
    """What it means, and what to do; an unknown one too."""
    assert ADVICE.keys() == TITLES.keys() == set(Reason)
    assert advice("something else") == UNKNOWN


def test_a_key_that_was_cleared_is_gone() -> None:
    """Named again it is set, not replaced; and nothing clears it twice."""
    said: list[dict[str, int | None]] = [{"a": 1}, {"a": None}, {"a": None}, {"a": 2}]

    found = changes(KeyedEvent("merge", data, {}, counts=True) for data in said)

    assert [(one.data.set, one.data.replaced, one.data.cleared) for one in found] == [
        (["a"], [], []),
        ([], [], ["a"]),
        ([], [], []),
        (["a"], [], []),
    ]
