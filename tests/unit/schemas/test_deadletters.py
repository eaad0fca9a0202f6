"""Dead letters carry their story in headers."""

from dataclasses import replace

import pytest

from schemas.deadletters import REASON, DeadLetter, Reason, Stage, headers_of, parse_headers

LETTER = DeadLetter(
    stage=Stage.MERGER,
    reason=Reason.MALFORMED_EVENT,
    detail="expected `{`",
    original_topic="feedback-events",
    original_partition=3,
    original_offset=77,
    original_version=77,
    failed_at="2026-11-22T08:00:00.000000Z",
)


@pytest.mark.parametrize("letter", [LETTER, replace(LETTER, original_version=None, detail="")])
def test_headers_round_trip(letter: DeadLetter) -> None:
    """What is written is what is read."""
    assert letter == parse_headers(headers_of(letter))


def test_a_long_detail_is_cut() -> None:
    """A detail may quote the record; the record itself is already in the value."""
    assert len(parse_headers(headers_of(replace(LETTER, detail="x" * 9_999))).detail) == 2_000


def test_a_detail_may_hold_anything() -> None:
    """Even lone surrogates, which UTF-8 has no bytes for."""
    assert parse_headers(headers_of(replace(LETTER, detail="\ud800"))).detail == "\\ud800"


@pytest.mark.parametrize("missing", [REASON])
def test_foreign_headers_are_refused(missing: str) -> None:
    """A record without our headers is no dead letter of ours."""
    with pytest.raises(ValueError, match=missing):
        parse_headers([(name, value) for name, value in headers_of(LETTER) if name != missing])
