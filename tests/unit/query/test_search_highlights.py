"""Comments with the searched words marked: found as the search finds them, and never as markup."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.dashboard.core.formatting import SHOWN, highlighted


@pytest.mark.parametrize(
    ("comment", "search", "shown"),
    [
        ("The refund was late", "refund", "The <mark>refund</mark> was late"),
        ("REFUND, refunds, Refund.", "refund", "<mark>REFUND</mark>, refunds, <mark>Refund</mark>."),
        ("a late refund", "refund late", "a <mark>late</mark> <mark>refund</mark>"),
        ("naïve École", "ÉCOLE", "naïve <mark>École</mark>"),
        ("日本語テスト", "語", "日本<mark>語</mark>テスト"),
        ("3.5 of 5", "3.5", "<mark>3</mark>.<mark>5</mark> of <mark>5</mark>"),
        (
            "<b>refund</b> & co",
            "refund b",
            "&lt;<mark>b</mark>&gt;<mark>refund</mark>&lt;/<mark>b</mark>&gt; &amp; co",
        ),
        (
            "<script>alert(1)</script>",
            "script",
            "&lt;<mark>script</mark>&gt;alert(1)&lt;/<mark>script</mark>&gt;",
        ),
        ("a.*b", ".*", "a.*b"),
        ("nothing sought", "", "nothing sought"),
    ],
)
def test_words_are_marked_whatever_their_case(comment: str, search: str, shown: str) -> None:
    """Whole ones, but for scripts that put no spaces between words."""
    assert str(highlighted(comment, search)) == shown


@given(st.text(max_size=80), st.text(max_size=20))
def test_but_for_the_marks_a_comment_is_what_it_was(comment: str, search: str) -> None:
    """And everything else of it is escaped."""
    shown = str(highlighted(comment, search))

    bare = re.sub("</?mark>", "", shown)
    assert html.unescape(bare) == comment
    assert not re.search("[<>]", bare)


def test_a_long_comment_is_cut_around_the_first_match() -> None:
    """With dots where something was left out."""
    shown = str(highlighted("x " * 2000 + "refund" + " y" * 2000, "refund"))

    assert shown.startswith("…")
    assert shown.endswith("…")
    assert "<mark>refund</mark>" in shown
    assert len(re.sub("</?mark>", "", shown)) == SHOWN + 2
