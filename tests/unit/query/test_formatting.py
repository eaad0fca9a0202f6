"""Values as the pages write them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.query.dashboard.core import formatting

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (-0.5, "just now"),
        (5, "5 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86_399, "23 h ago"),
        (86_400, "1 d ago"),
        (30 * 86_400, "23 Oct 2026"),
        (-60, "2026-11-22 12:01:00.000 UTC"),
    ],
)
def test_a_time_is_shown_in_relative_terms(seconds: float, words: str) -> None:
    """Seconds to days ago; a date when it is long ago, and all of it when it is yet to come."""
    assert formatting.ago(NOW - timedelta(seconds=seconds), NOW) == words


def test_a_time_in_another_zone_is_written_in_utc() -> None:
    """Milliseconds are cut, not rounded: no time is later than it was."""
    assert formatting.exact("2026-11-22T13:00:00.999999+01:00") == "2026-11-22 12:00:00.999 UTC"


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "\N{EN DASH}"), (812.5, "812 ms"), (3.25, "3.2 ms"), (1432.5, "1.43 s"), (250_000, "250 s")],
)
def test_latencies_are_short(value: float | None, words: str) -> None:
    """Milliseconds below a second."""
    assert formatting.milliseconds(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "$0.00"),
        (0.00213, "$0.0021"),
        (0.5, "$0.5000"),
        (0.05, "$0.0500"),
        (12.345, "$12.35"),
        (0.0000021, "<$0.0001"),
    ],
)
def test_costs_keep_digits_that_mean_something(value: float, words: str) -> None:
    """Answers cost fractions of a cent."""
    assert formatting.dollars(value) == words


@pytest.mark.parametrize(
    ("row", "sign", "name"),
    [
        ({"vote": "positive", "rating": 4.0}, "👍", "vote: positive"),
        ({"vote": "negative", "rating": 2.0}, "👎", "vote: negative"),
        ({"vote": "amazing", "rating": 5.0}, "❤️", "vote: amazing"),
        ({"vote": "", "rating": 4.5}, "4.5", "rating: 4.5"),
        ({"vote": "", "rating": 5.0}, "5", "rating: 5"),
        ({"vote": "", "rating": None}, "", ""),
    ],
)
def test_a_vote_is_a_sign_and_a_rating_its_number(row: dict[str, Any], sign: str, name: str) -> None:
    """With words for those who do not see signs."""
    assert (formatting.vote_sign(row), formatting.vote_name(row)) == (sign, name)


@pytest.mark.parametrize(("text", "short"), [("a\n b", "a b"), ("abcdef", "abc…"), ("abc", "abc"), ("", "")])
def test_long_texts_are_cut_and_put_on_one_line(text: str, short: str) -> None:
    """An ellipsis stands for the rest."""
    assert formatting.shortened(text, 3) == short


@pytest.mark.parametrize(
    ("request_id", "href"),
    [
        ("a/b", "/requests/a%2Fb"),
        (".", "/requests?request_id=."),
        ("..", "/requests?request_id=.."),
        ("ü 1", "/requests/%C3%BC%201"),
    ],
)
def test_every_request_has_an_address(request_id: str, href: str) -> None:
    """Also those that a browser would take for a step up."""
    assert formatting.request_href(request_id) == href
