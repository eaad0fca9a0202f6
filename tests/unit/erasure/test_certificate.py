"""What a certificate promises: the latest dates that the topics' own settings allow."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from services.erasure.core.certificate import certificate, lines
from tests.support.operations.erasure_in_memory import AT, an_erasure

DAY = 86_400_000
EVENTS = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY), "segment.ms": str(7 * DAY)}
STATE = {"cleanup.policy": "compact", "max.compaction.lag.ms": str(DAY), "segment.ms": str(7 * DAY)}
CHECKED = AT + timedelta(hours=1)


def kept(**topics: dict[str, str]) -> dict[str, str | None]:
    """Return until when each topic keeps older bytes."""
    named = {name.replace("_", "-"): settings for name, settings in topics.items()}
    told = made(topics=named)
    return {one["place"]: one["until"] for one in told["kept"] if one["place"].startswith("topic ")}


def made(**changes: Any) -> dict[str, Any]:
    """Return a certificate."""
    given = {
        "checked_at": CHECKED, "left": {"feedback": 0}, "later": 0, "erased_at": AT, "topics": {}, **changes
    }  # fmt: skip
    return certificate(replace(an_erasure(), request_ids=("r1",), found={"feedback": 1}), **given)


def test_a_segment_may_be_filled_before_its_retention_begins() -> None:
    """So a record stays for both times at the latest."""
    assert kept(feedback_events=EVENTS) == {
        "topic feedback-events": (AT + timedelta(days=37)).isoformat(timespec="seconds")
    }


def test_dead_letters_may_have_been_written_until_everything_was_checked() -> None:
    """They are younger than the events that they were made of."""
    assert kept(feedback_events_dlq=EVENTS) == {
        "topic feedback-events-dlq": (CHECKED + timedelta(days=37)).isoformat(timespec="seconds")
    }


def test_the_state_topic_is_compacted_within_its_lag() -> None:
    """Whatever its retention is."""
    assert kept(feedback_state=STATE) == {
        "topic feedback-state": (CHECKED + timedelta(days=1)).isoformat(timespec="seconds")
    }


def test_what_is_kept_for_ever_is_listed() -> None:
    """No retention, and Kafka's own default of a compaction lag, are no dates."""
    assert kept(
        feedback_events={**EVENTS, "retention.ms": "-1"},
        feedback_state={**STATE, "max.compaction.lag.ms": str(2**63 - 1)},
    ) == {"topic feedback-events": None, "topic feedback-state": None}


def test_where_nothing_was_erased_nothing_is_kept() -> None:
    """And that is said, too."""
    told = made(erased_at=None, topics={"feedback-events": EVENTS})

    assert told["kept"] == []
    assert "nothing: no request was found" in "\n".join(lines(told))


def test_the_text_form_has_the_same() -> None:
    """Dates, counts, what cannot be reached, and that somebody continues giving feedback."""
    text = "\n".join(lines(made(later=3, topics={"feedback-events": EVENTS})))

    assert "topic feedback-events: until 2026-12-29T08:00:00+00:00" in text
    assert "1 in feedback" in text
    assert "3 requests name the user again" in text
    assert "backups" in text
