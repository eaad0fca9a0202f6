"""How dead letters look, to people and to scripts."""

import io
import json

from rich.console import Console

from schemas.deadletters import Reason
from services.operations.dlq.core.dead_letter import TO_DO, UNKNOWN, DeadLetterContent, advice
from services.operations.dlq.core.decisions import Decision, InsertRow, PlannedReplay, SendEvent, SkipReplay
from services.operations.dlq.core.view import (
    MOST_HEX_BYTES,
    ReplaySummary,
    as_json,
    dump,
    listed,
    whole,
    whole_as_json,
)
from tests.support.operations.dead_letters import FAILED_AT, a_letter

LEFT = SkipReplay("because")


def test_every_reason_has_advice() -> None:
    """And what has none of Afterword's is said to be so."""
    assert set(TO_DO) == set(Reason)
    assert advice("").to_do == UNKNOWN


def test_json_is_shown_as_such() -> None:
    """With where it stood, what to do, and what a replay would do."""
    text = whole(a_letter(), DeadLetterContent(b"default/r1", b'{"data":{"a":1}}'), LEFT)

    assert "feedback-events/0/7, version 7" in text
    assert "value (16 bytes, JSON)" in text
    assert '    "a": 1' in text
    assert "is skipped: because" in text
    assert "afterword-original-offset: 7" in text


def test_bytes_that_are_no_text_are_shown_in_hex() -> None:
    """Cut after some KiB."""
    text = whole(a_letter(), DeadLetterContent(b"\xff", bytes(range(32))), LEFT)

    assert "key (1 bytes, hex)" in text
    assert "000010  10 11 12" in text
    assert "1 more bytes" in dump(b"x" * (MOST_HEX_BYTES + 1))


def test_what_others_wrote_cannot_steer_a_terminal() -> None:
    """Escape sequences in a detail, a reason or a body are shown as what they are not."""
    letter = a_letter(detail="\x1b[2J\x9bboo", request_id="r1[red]")
    content = DeadLetterContent(b"k", '"\x9b31m\\u001b[2J"'.encode())
    printed = io.StringIO()
    Console(width=300, file=printed).print(listed([letter]))
    table = printed.getvalue()

    assert "r1[red]" in table
    assert not {"\x1b", "\x9b"} & set(whole(letter, content, LEFT) + table)


def test_what_ended_a_process_is_not_parsed() -> None:
    """It is shown as the text that it is."""
    text = whole(a_letter(reason=Reason.CRASHED), DeadLetterContent(b"k", b'{"a":1}'), LEFT)

    assert "value (7 bytes, text)" in text
    assert '  {"a":1}' in text


def test_a_letter_is_json_for_scripts() -> None:
    """A version is text, and bytes that are no UTF-8 are in hex."""
    letter = a_letter(original_version=2**63, dropped_at=FAILED_AT)
    found = whole_as_json(letter, DeadLetterContent(b"k", b"\xff", b"{}"), LEFT)

    assert as_json(letter)["original_version"] == "9223372036854775808"
    assert (found["state"], found["key"], found["value_hex"], found["correction"]) == (
        "dropped",
        "k",
        "ff",
        "{}",
    )
    assert json.dumps(as_json(a_letter(original_version=None)), default=str)


def test_a_plan_counts_all_and_names_the_first() -> None:
    """What is left comes last."""
    tally = ReplaySummary(most_shown=2)
    decisions: list[Decision] = [
        LEFT,
        SendEvent(0, b"", b"", 1, "a note"),
        InsertRow("feedback_state", b"{}"),
        LEFT,
    ]
    tally.add(PlannedReplay(a_letter(number), one) for number, one in enumerate(decisions))

    assert (tally.total, tally.doable) == (4, 2)
    assert len(tally.lines()) == 4
    assert "a note" in tally.lines()[1]
    assert tally.lines()[2:] == ["… and 2 more", "1 to feedback_state, 1 to the events topic, 2 skipped"]
    assert ReplaySummary().lines() == ["nothing is selected"]
